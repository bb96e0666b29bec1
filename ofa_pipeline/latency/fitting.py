"""Fits a sum of totals to latencies: costs that are not negative, whatever was spoiled."""

from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import BoolArray, FloatArray

MIN_SUBNETS = 5
OUTLIER = 4.0
"""Typical errors beyond which a measurement is an outlier, and is set aside."""
SMALLEST_OUTLIER, GROSS_OUTLIER = 0.05, 0.5
"""Relative error of an outlier, at least: where noise has outliers, and in any case."""
MAX_OUTLIERS = 0.3
"""Share of the measurements that may be set aside; with more, none is: the model is wrong."""
_REWEIGHTINGS = 8
_HUBER = 1.5
_SMALLEST_NOISE = 0.005
_TALL = 3
"""Rows a column beyond which the system is reduced before it is solved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostFit:
    """Fitted costs, and what they were not fitted to."""

    costs: FloatArray
    is_outlier: BoolArray


def fit_costs(
    rows: FloatArray, latency_ms: FloatArray, penalties: FloatArray, *, smallest_outlier: float
) -> CostFit:
    """Fit costs that are not negative, by relative errors, and find the outliers.

    A first fit resists outliers wherever they are (weights of Cauchy's distribution); what is far
    off it is set aside, and Huber's fit to the rest is the more precise one.

    Args:
        rows: Totals, shape (subnets, totals).
        latency_ms: Shape (subnets,), positive.
        penalties: Of each cost, a subnet; totals are scaled to the same size first. Shape
            (totals,).
        smallest_outlier: Relative error of an outlier, at least. With few subnets, what is a
            little off may be the only ones of their kind.
    """
    costs = _reweighted(rows, latency_ms, penalties, resistant=True)
    errors = np.abs(rows @ costs / latency_ms - 1)
    is_outlier = errors > max(OUTLIER * typical_error(errors), smallest_outlier)
    if is_outlier.mean() > MAX_OUTLIERS or (~is_outlier).sum() < MIN_SUBNETS:
        return CostFit(costs=costs, is_outlier=np.zeros(len(rows), dtype=bool))
    kept = ~is_outlier
    costs = _reweighted(rows[kept], latency_ms[kept], penalties, resistant=False)
    return CostFit(costs=costs, is_outlier=is_outlier)


def typical_error(errors: FloatArray) -> float:
    """Return the median of absolute errors, as a standard deviation; never below noise."""
    return max(1.48 * float(np.median(np.abs(errors))), _SMALLEST_NOISE)


def _reweighted(
    rows: FloatArray, latency_ms: FloatArray, penalties: FloatArray, *, resistant: bool
) -> FloatArray:
    weights = np.ones(len(rows))
    for _ in range(_REWEIGHTINGS):
        costs = _solve(rows, latency_ms, weights, penalties)
        errors = np.abs(rows @ costs / latency_ms - 1)
        ratio = errors / typical_error(errors)
        weights = 1 / (1 + ratio**2) if resistant else 1 / np.maximum(ratio / _HUBER, 1)
    return _solve(rows, latency_ms, weights, penalties)


def _solve(
    rows: FloatArray, latency_ms: FloatArray, weights: FloatArray, penalties: FloatArray
) -> FloatArray:
    """Minimize squared relative errors plus a ridge penalty over costs that are not negative."""
    from scipy.optimize import nnls

    relative = rows / latency_ms[:, None]
    scale = np.sqrt((relative**2).mean(axis=0))
    scale[scale == 0] = 1
    root = np.sqrt(weights)
    system, target = root[:, None] * relative / scale, root
    if len(system) > _TALL * system.shape[1]:
        basis, system = np.linalg.qr(system)
        target = basis.T @ target
    ridge = np.diag(np.sqrt(penalties * len(rows)))[penalties > 0]
    solution: FloatArray
    solution, _ = nnls(
        np.concatenate([system, ridge]), np.concatenate([target, np.zeros(len(ridge))])
    )
    scaled: FloatArray = solution / scale
    return scaled
