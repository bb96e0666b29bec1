"""Fits a sum of totals to latencies: costs that are not negative, whatever was spoiled."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import BoolArray, FloatArray, IntArray

MIN_SUBNETS = 5
OUTLIER = 4.0
"""Typical errors beyond which a measurement is an outlier, and is set aside."""
SMALLEST_OUTLIER, GROSS_OUTLIER = 0.05, 0.5
"""Relative error of an outlier, at least: where noise has outliers, and in any case."""
MAX_OUTLIERS = 0.3
"""Share of the measurements that may be set aside; with more, none is: the model is wrong."""
_REWEIGHTINGS = 8
_HUBER = 1.5
_FAR_OFF, _LITTLE = 3.0, 1e-4
"""A latency so many times that of its size, or less than that part of it, has a small weight."""
_SMALLEST_NOISE = 0.005
_TALL = 3
"""Rows a column beyond which the system is reduced before it is solved."""

Solve = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""From totals (subnets, totals), latencies and weights of the subnets to costs (totals,) that make
the sum of weighted squares of relative errors small, with what is known of the costs before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostFit:
    """Fitted costs, and what they were not fitted to."""

    costs: FloatArray
    is_outlier: BoolArray


def fit_costs(
    rows: FloatArray, latency_ms: FloatArray, solve: Solve, *, smallest_outlier: float
) -> CostFit:
    """Fit costs that are not negative, by relative errors, and find the outliers.

    A first fit resists outliers wherever they are (weights of Cauchy's distribution); what is far
    off it is set aside, and Huber's fit to the rest is the more precise one.

    Args:
        rows: Totals, shape (subnets, totals).
        latency_ms: Shape (subnets,), positive.
        solve: Fits costs to weighted subnets.
        smallest_outlier: Relative error of an outlier, at least. With few subnets, what is a
            little off may be the only ones of their kind.
    """
    costs = _reweighted(rows, latency_ms, solve, resistant=True)
    errors = np.abs(rows @ costs / latency_ms - 1)
    is_outlier = errors > max(OUTLIER * typical_error(errors), smallest_outlier)
    if is_outlier.mean() > MAX_OUTLIERS or (~is_outlier).sum() < MIN_SUBNETS:
        return CostFit(costs=costs, is_outlier=np.zeros(len(rows), dtype=bool))
    kept = ~is_outlier
    costs = _reweighted(rows[kept], latency_ms[kept], solve, resistant=False)
    return CostFit(costs=costs, is_outlier=is_outlier)


def typical_error(errors: FloatArray) -> float:
    """Return the median of absolute errors, as a standard deviation; never below noise."""
    return max(1.48 * float(np.median(np.abs(errors))), _SMALLEST_NOISE)


def relative_rows(rows: FloatArray, latency_ms: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return totals over latencies, each column scaled to mean square 1, and the scales."""
    relative = rows / latency_ms[:, None]
    scale = np.sqrt((relative**2).mean(axis=0))
    scale[scale == 0] = 1
    return relative / scale, scale


def solve_not_negative(system: FloatArray, target: FloatArray, prior: FloatArray) -> FloatArray:
    """Minimize squares over costs that are not negative.

    Args:
        system: Weighted rows, shape (subnets, totals).
        target: What each should come to, shape (subnets,).
        prior: Rows that are added: of what is known before, the last column what it comes to.
    """
    from scipy.optimize import nnls

    if len(system) > _TALL * system.shape[1]:
        basis, system = np.linalg.qr(system)
        target = basis.T @ target
    costs: FloatArray
    costs, _ = nnls(np.concatenate([system, prior[:, :-1]]), np.concatenate([target, prior[:, -1]]))
    return costs


@dataclass(frozen=True, slots=True)
class Ridge:
    """Solves with costs that are small, where measurements do not say otherwise."""

    penalties: FloatArray
    """Of each cost, a subnet; totals are scaled to the same size first. Shape (columns,)."""
    columns: IntArray | None = None
    """Of the totals, the others have no cost; None: all."""

    def __call__(self, rows: FloatArray, latency_ms: FloatArray, weights: FloatArray) -> FloatArray:
        """Return costs of all totals; see `Solve`."""
        columns = slice(None) if self.columns is None else self.columns
        scaled, scale = relative_rows(rows[:, columns], latency_ms)
        root = np.sqrt(weights)
        ridge = np.diag(np.sqrt(self.penalties * len(rows)))[self.penalties > 0]
        prior = np.column_stack([ridge, np.zeros(len(ridge))])
        costs = np.zeros(rows.shape[1])
        costs[columns] = solve_not_negative(root[:, None] * scaled, root, prior) / scale
        return costs


def _first_weights(rows: FloatArray, latency_ms: FloatArray) -> FloatArray:
    """Return the weights of a first fit: little where a latency is far from that of its size.

    By relative errors a latency that is ten times too short weighs ten times as much as others, so
    a first fit of equal weights may follow a few of them, and those after it with it. Where none
    is far off, all weights are 1.
    """
    mean = np.abs(rows).mean(axis=0)
    size = (rows / np.where(mean == 0, 1, mean)).mean(axis=1)
    if (size <= 0).any():
        return np.ones(len(rows))
    off = np.log(latency_ms / size)
    off = np.abs(off - np.median(off))
    limit = max(OUTLIER * 1.48 * float(np.median(off)), math.log(_FAR_OFF))
    return np.where(off > limit, _LITTLE, 1.0)


def _reweighted(
    rows: FloatArray, latency_ms: FloatArray, solve: Solve, *, resistant: bool
) -> FloatArray:
    weights = _first_weights(rows, latency_ms)
    for _ in range(_REWEIGHTINGS):
        costs = solve(rows, latency_ms, weights)
        errors = np.abs(rows @ costs / latency_ms - 1)
        ratio = errors / typical_error(errors)
        weights = 1 / (1 + ratio**2) if resistant else 1 / np.maximum(ratio / _HUBER, 1)
    return solve(rows, latency_ms, weights)
