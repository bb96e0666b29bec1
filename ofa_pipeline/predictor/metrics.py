"""Figures that tell how far a predictor can be trusted; accuracies are fractions everywhere."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import kendalltau, norm

from ofa_pipeline.arch import BoolArray, FloatArray
from ofa_pipeline.documents import PredictionReport

REGRET_AT = (1, 5, 10)
"""Numbers of verified subnets a budget that regret is reported for."""
COVERAGE = 0.9
"""Probability of the intervals whose coverage is reported."""
_NUM_BUDGETS = 6
_MIN_TOP = 3  # a rank correlation of fewer says nothing


def report_predictions(
    measured: FloatArray, mean: FloatArray, std: FloatArray, *, cost: FloatArray
) -> PredictionReport:
    """Compare predictions of held-out subnets with their measurements.

    Args:
        measured: Accuracy of each subnet.
        mean: Predicted accuracy.
        std: Its standard deviation.
        cost: What budgets are about, for example MACs.
    """
    budgets = cost_budgets(cost)
    by_budget = {
        f"{budget:.6g}": {
            str(k): 100 * regret(measured, mean, feasible=cost <= budget, k=k) for k in REGRET_AT
        }
        for budget in budgets
    }
    regrets = {
        str(k): float(np.mean([values[str(k)] for values in by_budget.values()])) for k in REGRET_AT
    }
    top = np.argsort(-mean)[: max(1, len(mean) // 10)]
    return PredictionReport(
        num_subnets=len(measured),
        rmse_points=100 * float(np.sqrt(np.mean((mean - measured) ** 2))),
        mape_percent=100 * float(np.mean(np.abs(mean - measured) / np.maximum(measured, 1e-9))),
        tau=kendall_tau(mean, measured),
        tau_top_decile=top_decile_tau(mean, measured),
        coverage=interval_coverage(measured, mean, std),
        optimism_points=100 * float(np.mean(mean[top] - measured[top])),
        regret_points=regrets,
        regret_points_by_budget=by_budget,
    )


def cost_budgets(cost: FloatArray) -> FloatArray:
    """Return six budgets that admit a sixth, two sixths, ... all of the subnets."""
    return np.quantile(cost, np.arange(1, _NUM_BUDGETS + 1) / _NUM_BUDGETS)


def regret(measured: FloatArray, predicted: FloatArray, *, feasible: BoolArray, k: int) -> float:
    """Return what the best of the k subnets predicted best falls short of the best feasible."""
    rows = np.flatnonzero(feasible)
    if not len(rows):
        return 0.0
    chosen = rows[np.argsort(-predicted[rows], kind="stable")[:k]]
    return float(measured[rows].max() - measured[chosen].max())


def kendall_tau(first: FloatArray, second: FloatArray) -> float:
    """Return Kendall's tau-b; 0 where it is not defined (fewer than two values, or all equal)."""
    if len(first) <= 1 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(kendalltau(first, second).statistic)


def top_decile_tau(predicted: FloatArray, measured: FloatArray) -> float:
    """Return Kendall's tau among the best tenth by measurement, of at least three subnets."""
    top = np.argsort(-measured, kind="stable")[: max(_MIN_TOP, len(measured) // 10)]
    return kendall_tau(predicted[top], measured[top])


def interval_coverage(measured: FloatArray, mean: FloatArray, std: FloatArray) -> float:
    """Return the share of measurements within the central interval of `COVERAGE`."""
    reach = float(norm.ppf(0.5 + COVERAGE / 2))
    return float(np.mean(np.abs(measured - mean) <= reach * std))


def pooled_noise(groups: Sequence[FloatArray]) -> float:
    """Return the pooled standard deviation of repeated measurements; 0 without repeats."""
    degrees = sum(len(group) - 1 for group in groups)
    if degrees <= 0:
        return 0.0
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return float(np.sqrt(squares / degrees))
