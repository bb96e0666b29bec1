"""How far a latency model is to be trusted, and what measuring more would give."""

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.documents import (
    LatencyLearningPoint,
    LatencyModelReport,
    LatencySelection,
    PredictionInterval,
)
from ofa_pipeline.latency.fit import LatencyFit
from ofa_pipeline.latency.fitting import MIN_SUBNETS
from ofa_pipeline.latency.forms import Measurements
from ofa_pipeline.latency.subnets import Subnets

MORE_SUBNETS = 20
_CURVE_SHARES = (0.5, 0.75)
_CURVE_DRAWS = 5


def report_errors(
    measured_ms: FloatArray,
    estimated_ms: FloatArray,
    *,
    interval: PredictionInterval | None = None,
) -> LatencyModelReport:
    """Compare estimates with measurements; shape (subnets,) both, at least two."""
    errors = np.abs(estimated_ms - measured_ms) / measured_ms
    return LatencyModelReport(
        num_subnets=len(errors),
        mape=float(errors.mean()),
        median_error=float(np.median(errors)),
        share_within_5_percent=_share_within(errors, percent=5),
        share_within_10_percent=_share_within(errors, percent=10),
        **_order(measured_ms, estimated_ms),
        max_error=float(errors.max()),
        coverage=None if interval is None else _coverage(measured_ms, estimated_ms, interval),
    )


def _order(measured_ms: FloatArray, estimated_ms: FloatArray) -> dict[str, float]:
    """Return how alike two orders are; 0 where all measurements or all estimates are the same."""
    from scipy.stats import kendalltau, spearmanr

    if np.ptp(measured_ms) == 0 or np.ptp(estimated_ms) == 0:
        return {"kendall_tau": 0.0, "spearman_rho": 0.0}
    return {
        "kendall_tau": float(kendalltau(measured_ms, estimated_ms).statistic),
        "spearman_rho": float(spearmanr(measured_ms, estimated_ms).statistic),
    }


def report_selection(
    space: SearchSpace,
    fit: LatencyFit,
    *,
    holdout: Genes,
    holdout_ms: FloatArray,
    noise_cv: float,
) -> LatencySelection:
    """Say how a model was chosen, what it set aside, and what measuring more would give.

    Args:
        space: The space of the subnets.
        fit: The fitted model.
        holdout: Genes of subnets that it was not fitted to.
        holdout_ms: Their measured latencies.
        noise_cv: Standard deviation of a measurement over the mean: no error is below it.
    """
    outliers = fit.genes[fit.choice.form.is_outlier]
    fitted, held_out = (
        Subnets.of(
            space,
            genes,
            latency_ms,
            num_classes=fit.model.num_classes,
            with_groups=False,
            tiles_px=[fit.model.tile_px],
        ).measurements
        for genes, latency_ms in ((fit.genes, fit.latency_ms), (holdout, holdout_ms))
    )
    curve = _learning_curve(fit, fitted, held_out)
    return LatencySelection(
        losses=fit.choice.losses,
        outliers=[arch.arch_id for arch in space.archs(outliers)],
        share_launch_bound=float(fit.is_launch_bound.mean()),
        learning_curve=curve,
        mape_with_20_more=_extrapolated(curve, noise_cv),
    )


def _learning_curve(
    fit: LatencyFit, fitted: Measurements, held_out: Measurements
) -> list[LatencyLearningPoint]:
    """Return the errors of the chosen form, fitted to parts of the subnets and to all."""
    count = len(fit.genes)
    rng = np.random.default_rng(0)
    parts: list[list[IntArray]] = [
        [rng.permutation(count)[:size] for _ in range(_CURVE_DRAWS)]
        for share in _CURVE_SHARES
        if (size := round(share * count)) >= 2 * MIN_SUBNETS
    ]
    points = []
    for draws in [*parts, [np.arange(count)]]:
        errors = []
        for drawn in draws:
            estimated = fit.choice.candidate.fit(fitted.of(drawn)).estimate(held_out)
            errors.append(float(np.abs(estimated / held_out.latency_ms - 1).mean()))
        points.append(LatencyLearningPoint(num_subnets=len(draws[0]), mape=float(np.mean(errors))))
    return points


def _extrapolated(curve: list[LatencyLearningPoint], noise_cv: float) -> float:
    """Follow a + b / n to 20 more subnets: never worse than now, never better than noise."""
    last = curve[-1]
    if len(curve) == 1:
        return last.mape
    counts = np.array([point.num_subnets for point in curve], dtype=np.float64)
    slope, _ = np.polyfit(1 / counts, [point.mape for point in curve], 1)
    gained = max(float(slope), 0.0) * (1 / last.num_subnets - 1 / (last.num_subnets + MORE_SUBNETS))
    # A mean absolute error is 0.8 standard deviations.
    return min(last.mape, max(last.mape - gained, 0.8 * noise_cv))


def _share_within(errors: FloatArray, *, percent: float) -> float:
    return float((errors <= percent / 100).mean())


def _coverage(
    measured_ms: FloatArray, estimated_ms: FloatArray, interval: PredictionInterval
) -> float:
    errors = measured_ms / estimated_ms - 1
    return float(((errors >= interval.low) & (errors <= interval.high)).mean())
