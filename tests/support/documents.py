"""Whole documents with made-up figures."""

from collections.abc import Sequence
from typing import Any

from ofa_pipeline.arch import Arch
from ofa_pipeline.documents import (
    Candidate,
    DeviceCard,
    DeviceProfile,
    FittedLatency,
    LatencyCosts,
    LatencyMeasurement,
    LatencyModelReport,
    LatencyReport,
    MeasurementNoise,
    PickedSubnet,
    Picks,
    ReferenceSubnet,
    RunnerUp,
    VerificationReport,
)
from tests.support.synthetic import small_space

DEVICE_CARD = DeviceCard(
    runtime="onnxruntime",
    runtime_version="1.31.0",
    accelerator="cpu",
    hardware="a processor",
    precision="fp32",
    threads=1,
    batch_size=1,
)


def measurement(p50_ms: float = 1.0) -> LatencyMeasurement:
    """Return the latency of a subnet on a quiet machine."""
    return LatencyMeasurement(
        p50_ms=p50_ms,
        p95_ms=p50_ms * 1.2,
        ci_low_ms=p50_ms * 0.99,
        ci_high_ms=p50_ms * 1.01,
        num_runs=60,
        num_dropped_runs=0,
        reference_ms=1.0,
        reference_p10_ms=1.0,
        slowdown=1.0,
        is_contended=False,
    )


def device_profile(arch: Arch | None = None) -> DeviceProfile:
    """Return the profile of a device.

    Args:
        arch: Of the reference network.
    """
    return DeviceProfile(
        device=DEVICE_CARD,
        fingerprint=DEVICE_CARD.fingerprint,
        reference=ReferenceSubnet(arch=arch or small_space().smallest, latency_ms=1.0),
        smallest_ms=0.5,
        largest_ms=3.0,
        measurement={"num_subnets": 30, "timed_runs": 30},
    )


def latency_report() -> LatencyReport:
    """Return what is to be said about a good latency model."""
    errors = LatencyModelReport(
        num_subnets=20,
        mape=0.01,
        share_within_5_percent=1.0,
        share_within_10_percent=1.0,
        kendall_tau=0.9,
        max_error=0.04,
    )
    noise = MeasurementNoise(cv=0.01, num_subnets=4, num_measurements=12, num_contended=0)
    return LatencyReport(fit=errors, holdout=errors, noise=noise)


def fitted_latency() -> FittedLatency:
    """Return a latency model with its report."""
    costs = LatencyCosts(
        space_digest="fb9d15f58c30a331", num_classes=10, costs_ms={"num_layers": 0.01}, fixed_ms=0.1
    )
    return FittedLatency(model=costs, report=latency_report())


def picks(*budgets: tuple[float, Sequence[Arch]]) -> Picks:
    """Return what a search found.

    Args:
        budgets: Milliseconds, and the subnets within them, best first.
    """
    space = small_space()
    found = budgets or [(3.0, [space.largest, space.smallest])]
    return Picks(
        picks=tuple(_pick(budget_ms, archs) for budget_ms, archs in found),
        accuracy_noise_points=0.2,
        num_verified=12,
        num_rounds=2,
        is_stable=False,
        latency_correction=0.97,
        hypervolume_estimated=0.01,
        verification=VerificationReport(
            accuracy_rmse_points=0.4, accuracy_optimism_points=0.1, latency_mape_percent=3.0
        ),
    )


def _pick(budget_ms: float, archs: Sequence[Arch]) -> PickedSubnet:
    best, *others = archs
    return PickedSubnet(
        **_candidate(best, budget_ms * 0.9),
        budget_ms=budget_ms,
        price_points_per_ms=2.0,
        num_tied=1,
        runners_up=tuple(
            RunnerUp(**_candidate(arch, budget_ms * 0.8), is_tied=False) for arch in others
        ),
    )


def _candidate(arch: Arch, latency_ms: float) -> dict[str, Any]:
    return dict(
        Candidate(
            arch_id=arch.arch_id,
            arch=arch,
            accuracy_top1_selection=0.65,
            accuracy_top1_estimated=0.66,
            latency_ms=latency_ms,
            latency=measurement(latency_ms),
            latency_ms_estimated=latency_ms,
        )
    )
