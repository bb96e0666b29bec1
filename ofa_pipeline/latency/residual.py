"""What a sum of totals leaves unexplained, as a Gaussian process over the totals."""

from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import BoolArray, FloatArray
from ofa_pipeline.documents import LatencyResidual

MIN_SUBNETS = 50
"""With fewer, a Gaussian process learns noise."""
MAX_SUBNETS = 500
_LENGTHS = (1.0, 2.0, 4.0)
_NOISES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Variances of a measurement, in variances of the process."""
_LARGEST_ERROR = 3.0
"""Typical errors that an error counts as at most, and that is corrected at most."""
_BETTER = 0.99
"""The loss of what is kept, in parts of the loss without it."""
_CHUNK = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualInputs:
    """What the process knows of subnets."""

    totals: FloatArray
    """Of the whole network, shape (subnets, totals)."""
    group_totals: FloatArray
    """The same by block group, shape (subnets, more totals)."""
    estimated_ms: FloatArray
    """By the sum of totals."""

    def of(self, chosen: BoolArray | slice) -> "ResidualInputs":
        """Return some of the subnets."""
        return ResidualInputs(
            totals=self.totals[chosen],
            group_totals=self.group_totals[chosen],
            estimated_ms=self.estimated_ms[chosen],
        )


def fit_residual(
    inputs: ResidualInputs, latency_ms: FloatArray, *, typical: float
) -> LatencyResidual | None:
    """Fit relative errors of a sum, or nothing where that does not help.

    The covariance is a Gaussian of the logarithms of the totals (what the form of the sum does not
    show) plus a linear one of the totals of each block group (groups that are slower than others).

    Args:
        inputs: The measured subnets without outliers; the first `MAX_SUBNETS` count.
        latency_ms: Their latencies.
        typical: A typical relative error of the sum.
    """
    if len(latency_ms) < MIN_SUBNETS:
        return None
    inputs, latency_ms = inputs.of(slice(MAX_SUBNETS)), latency_ms[:MAX_SUBNETS]
    limit = _LARGEST_ERROR * typical
    errors = np.clip(latency_ms / inputs.estimated_ms - 1, -limit, limit)
    points, center, scale = _standardized(_logarithms(inputs.totals))
    groups, group_center, group_scale = _standardized(_shares(inputs))
    best, solution = _BETTER * float(np.abs(errors).mean()), None
    for length in _LENGTHS:
        covariance = _gaussian(points, points, length) + groups @ groups.T / groups.shape[1]
        for noise in _NOISES:
            inverse = np.linalg.inv(covariance + noise * np.eye(len(errors)))
            weights = inverse @ errors
            found = float(np.abs(weights / np.diag(inverse)).mean())  # leaving one out
            if found < best:
                best, solution = found, (length, weights)
    if solution is None:
        return None
    length, weights = solution
    return LatencyResidual(
        center=center.tolist(),
        scale=scale.tolist(),
        length=length,
        points=points.tolist(),
        weights=weights.tolist(),
        group_center=group_center.tolist(),
        group_scale=group_scale.tolist(),
        group_weights=(groups.T @ weights / groups.shape[1]).tolist(),
        limit=limit,
    )


def relative_correction(residual: LatencyResidual, inputs: ResidualInputs) -> FloatArray:
    """Return what the process expects the relative error of the sum to be, within its limit."""
    points = np.array(residual.points)
    groups = (_shares(inputs) - residual.group_center) / residual.group_scale
    expected: FloatArray = groups @ np.array(residual.group_weights)
    scaled = (_logarithms(inputs.totals) - residual.center) / residual.scale
    for start in range(0, len(scaled), _CHUNK):
        covariance = _gaussian(scaled[start : start + _CHUNK], points, residual.length)
        expected[start : start + _CHUNK] += covariance @ np.array(residual.weights)
    return np.clip(expected, -residual.limit, residual.limit)


def _logarithms(totals: FloatArray) -> FloatArray:
    return np.log1p(totals)


def _shares(inputs: ResidualInputs) -> FloatArray:
    return inputs.group_totals / inputs.estimated_ms[:, None]


def _standardized(values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    center, scale = values.mean(axis=0), values.std(axis=0)
    scale = np.where(
        scale > 1e-9 * np.abs(center), scale, np.inf
    )  # what does not vary says nothing
    scale = np.where(np.isfinite(scale), scale, 1e300)
    return (values - center) / scale, center, scale


def _gaussian(first: FloatArray, second: FloatArray, length: float) -> FloatArray:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    covariance: FloatArray = np.exp(-squares / first.shape[1] / (2 * length**2))
    return covariance
