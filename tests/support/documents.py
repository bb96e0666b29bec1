"""Whole documents with made-up figures."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.documents import (
    AccuracyFigures,
    AccuracyNoise,
    BudgetCertificate,
    BudgetChoice,
    BudgetVerdict,
    BundleEntry,
    BundleIndex,
    CalibrationImages,
    CanaryFigures,
    Candidate,
    Card,
    ClassNames,
    ComputeCost,
    DeviceCard,
    DeviceProfile,
    FinetuningCost,
    FittedLatency,
    LatencyCertificate,
    LatencyCosts,
    LatencyMeasurement,
    LatencyModelReport,
    LatencyReport,
    LearningPoint,
    MeasurementNoise,
    ParityFigures,
    PickedSubnet,
    Picks,
    PixelStatistics,
    PredictionReport,
    PredictorReport,
    Receipt,
    Receipts,
    Recertification,
    ReferenceSubnet,
    RunnerUp,
    Runs,
    StoredPredictor,
    SubnetDescription,
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


def first_run_figures() -> dict[str, Any]:
    """Return what a measurement notes of warm-up, loading and memory; earlier ones lack it."""
    return {
        "is_warm": True,
        "load_ms": 12.3,
        "first_call_ms": 1.5,
        "peak_memory_mb": 85.6,
        "network_memory_mb": 2.25,
    }


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


# ---- dataset


def class_names(*names: str) -> ClassNames:
    """Return the classes of a dataset."""
    return ClassNames(class_names=names or ("cat", "dog"))


def pixel_statistics() -> PixelStatistics:
    """Return the statistics of a dataset."""
    return PixelStatistics(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), image_size_px=20)


# ---- accuracies


def accuracy_noise() -> AccuracyNoise:
    """Return the noise of measured accuracies."""
    return AccuracyNoise(
        calibration_std=0.002, sampling_std=0.007, num_repeated_subnets=5, num_draws=3
    )


def predictor_report() -> PredictorReport:
    """Return the report of a predictor that was tried alone."""
    validation = PredictionReport(
        num_subnets=100,
        rmse_points=0.5,
        mape_percent=0.6,
        tau=0.8,
        tau_top_decile=0.4,
        coverage=0.9,
        optimism_points=0.1,
        regret_points={"1": 0.3, "5": 0.1, "10": 0.0},
        regret_points_by_budget={"780112": {"1": 0.3, "5": 0.1, "10": 0.0}},
    )
    return PredictorReport(
        **dict(validation),
        kind="kernel_ridge",
        chosen_by="a rule",
        label_noise_points=0.2,
        candidates={"kernel_ridge": validation},
        learning_curve=(LearningPoint(num_samples=4, rmse_points=0.9, tau=0.5),),
    )


def stored_predictor() -> StoredPredictor:
    """Return what a predictor is."""
    return StoredPredictor(kind="ridge", space=small_space(), arrays=("weights",))


# ---- bundles


def subnet_description(
    arch: Arch | None = None, *, space: SearchSpace | None = None, **changes: Any
) -> SubnetDescription:
    """Return what a subnet of three classes is.

    Args:
        arch: Of it; by default the largest.
        space: Of the architecture.
        changes: Further fields.
    """
    space = space or small_space()
    arch = arch or space.largest
    values: dict[str, Any] = {
        "arch": arch,
        "arch_id": arch.arch_id,
        "space": space,
        "num_classes": 3,
        "class_names": ("red", "green", "blue"),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "image_size_px": 16,
        "calibration": CalibrationImages(split="calibration", images=(0, 2)),
        "runs": Runs(runtime="onnxruntime", file="model.onnx", accelerator="cpu", threads=1),
    }
    return SubnetDescription(**{**values, **changes})


def card(
    arch_id: str = "a-subnet", *, device: str = "cpu", accuracy: float = 0.9, p50_ms: float = 1.0
) -> Card:
    """Return what a subnet was measured to do within two budgets."""
    budgets_ms = (p50_ms + 0.2, p50_ms + 0.5)
    certificate = LatencyCertificate(
        **measurement(p50_ms).to_dict(),
        attempts_p50_ms=(p50_ms,),
        card=DEVICE_CARD,
        file="model.onnx",
        file_digest="0" * 64,
        verdicts=(
            BudgetVerdict(budget_ms=budgets_ms[0], verdict="within_noise"),
            BudgetVerdict(budget_ms=budgets_ms[1], verdict="within"),
        ),
    )
    return Card(
        arch_id=arch_id,
        budgets_ms=budgets_ms,
        accuracy=AccuracyFigures(
            accuracy_top1=accuracy,
            accuracy_top5=1.0,
            num_test_images=4,
            accuracy_top1_selection=0.6,
            accuracy_top1_selection_extracted=0.55,
            accuracy_top1_selection_finetuned=0.6,
            num_selection_images=4,
            is_finetuned=True,
            evaluated_file="model.onnx",
        ),
        latency={device: certificate},
        cost=ComputeCost(macs=1_000_000, num_params=20_000),
        finetuning=FinetuningCost(
            cpu_s=2.0, wall_s=1.0, is_complete=True, on_cuda=False, epochs=4, teacher_macs=2_000_000
        ),
        parity=ParityFigures(
            max_abs_difference=1e-6,
            max_relative_difference=1e-7,
            top1_agreement=1.0,
            num_images=4,
        ),
        lineage={"artifacts/dataset": "da7a" * 16},
    )


def bundle_entry(arch: Arch, of: Card, **changes: Any) -> BundleEntry:
    """Return the line of a bundle in an index.

    Args:
        arch: Of its subnet.
        of: Its card.
        changes: Other values of fields.
    """
    values: dict[str, Any] = {
        **{name: getattr(of, name) for name in BundleEntry.model_fields if hasattr(of, name)},
        "name": of.arch_id,
        "bundle_digest": "0" * 64,
        "arch": arch,
        "space_id": "tiny",
        "num_classes": 3,
    }
    return BundleEntry(**{**values, **changes})


def bundle_index(device: str = "cpu", *entries: BundleEntry) -> BundleIndex:
    """Return the index of the bundles of a device; by default it has one."""
    arch = small_space().largest
    return BundleIndex(
        device=device,
        bundles=entries or (bundle_entry(arch, card(arch.arch_id)),),
        picks=(BudgetChoice(budget_ms=1.2, bundle=arch.arch_id, rank=0),),
    )


def receipts(*given: Receipt) -> Receipts:
    """Return the receipts of a registration; by default there is one."""
    receipt = Receipt(
        bundle="a-subnet",
        bundle_digest="0" * 64,
        model_name="ofa-tiny-cpu",
        arch_id="a-subnet",
        budgets_ms=(1.2,),
    )
    return Receipts(device="cpu", receipts=given or (receipt,))


def canary(
    name: str = "a-subnet",
    *,
    certified_ms: float = 1.0,
    measured_ms: float = 1.0,
    budgets_ms: Sequence[float] = (1.1,),
    is_contended: bool = False,
) -> CanaryFigures:
    """Return a certified file that was measured again; its p95 is 1.2 times its median."""
    found = measurement(measured_ms)
    return CanaryFigures(
        name=name,
        certified_ms=certified_ms,
        measured_ms=measured_ms,
        measured_p95_ms=found.p95_ms,
        ci_low_ms=found.ci_low_ms,
        ci_high_ms=found.ci_high_ms,
        num_runs=found.num_runs,
        is_contended=is_contended,
        budgets=tuple(
            BudgetCertificate(
                budget_ms=budget_ms,
                p50=found.verdict(budget_ms),
                p95=found.verdict(budget_ms, quantile="p95"),
            )
            for budget_ms in budgets_ms
        ),
    )


def recertification(
    *canaries: CanaryFigures, device: str = "cpu", has_moved: bool = False
) -> Recertification:
    """Return what a device measured again; by default one file."""
    return Recertification(
        device=device,
        fingerprint="0123456789",
        measured_at=datetime(2026, 1, 31, 12, 59, tzinfo=UTC),
        canaries=canaries or (canary(),),
        slope=1.0,
        intercept_ms=0.0,
        largest_shift=0.0,
        chi_square=0.0,
        speed=1.0,
        has_moved=has_moved,
        stale=(),
    )
