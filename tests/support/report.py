"""Made-up contents of a report, of the size that the demonstration has."""

import numpy as np

from ofa_pipeline.arch import Arch
from ofa_pipeline.report.contents import (
    ArtifactFacts,
    ConfusionFacts,
    DatasetFacts,
    DeviceFacts,
    EpochFacts,
    FrontPoint,
    Interval,
    LatencyFacts,
    LatencySample,
    LearningPoint,
    PhaseFacts,
    PickFacts,
    PredictorFacts,
    ReportContents,
    SearchFacts,
    SubnetFacts,
    proportion_interval,
)
from ofa_pipeline.report.cost import AloneFacts, CostFacts, FinetuningCost, StageCost
from ofa_pipeline.report.figures import draw_all
from ofa_pipeline.report.page import render_page
from ofa_pipeline.spaces import mobilenet_v3_small_images
from ofa_pipeline.stopwatch import Seconds
from tests.support.dataset_summary import sample_summary

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
DIGEST = "0123456789abcdef" * 4
BUDGETS_MS = (0.21, 0.31, 0.52)
SPACE = mobilenet_v3_small_images(
    resolutions_px=(16, 20, 24, 28),
    depths=(1, 2, 3),
    kernel_sizes=(3, 5, 7),
    expand_ratios=(2, 3, 4),
    stem_stride=1,
    stem_channels=16,
    group_channels=(16, 24, 40),
    group_strides=(2, 2, 2),
    head_channels=(96, 128),
)


def sample_contents(seed: int = 0) -> ReportContents:
    """Return contents with two devices, three subnets each."""
    rng = np.random.default_rng(seed)
    devices = (
        _device("cpu-onnxruntime", rng, scale=1.0),
        _device("cpu-pytorch", rng, scale=9.0),
    )
    confusion = ConfusionFacts(
        subnet=devices[0].subnets[-1], class_names=CLASSES, counts=_counts(rng), file="card.json"
    )
    return ReportContents(
        title="Once-for-All",
        space=SPACE,
        dataset=DatasetFacts(
            source="fashion_mnist_sample",
            class_names=CLASSES,
            num_images={"train": 6000, "calibration": 720, "selection": 2640, "test": 2640},
            num_unreadable=0,
            summary=sample_summary(),
            digest=DIGEST,
            file="artifacts/dataset/manifest.json",
        ),
        phases=_phases(rng),
        predictor=_predictor(rng),
        devices=devices,
        confusion=confusion,
        cost=sample_cost(is_measured=False),
        artifacts=(
            ArtifactFacts(path="artifacts/dataset", digest=DIGEST, made_from=()),
            ArtifactFacts(
                path="artifacts/supernet/largest", digest=DIGEST, made_from=("artifacts/dataset",)
            ),
        ),
    )


def sample_cost(*, is_measured: bool) -> CostFacts:
    """Return what a demonstration costs; with training alone measured or only estimated."""
    once = {
        "train_supernet": ("largest", "kernel", "depth_1", "depth_2", "expand_1", "expand_2"),
        "collect_accuracy": (None,),
        "fit_predictor": (None,),
        "profile_latency": ("cpu-onnxruntime", "cpu-pytorch"),
        "search": ("cpu-onnxruntime", "cpu-pytorch"),
    }
    finetunings = [
        FinetuningCost(
            device=device,
            arch_id=f"subnet-{index}",
            seconds=Seconds(cpu_s=20.0 + 5 * index, wall_s=11.0 + 3 * index),
            epochs=2,
            macs=1_000_000 * (index + 1),
            teacher_macs=6_000_000,
        )
        for device in ("cpu-onnxruntime", "cpu-pytorch")
        for index in range(3)
    ]
    measured = [
        AloneFacts(
            device=item.device,
            arch_id=item.arch_id,
            accuracy_top1_extracted=0.868,
            accuracy_top1_finetuned=0.872 + 0.009 * index,
            accuracy_top1=0.88,
            standard_error=0.0061,
            seconds=Seconds(cpu_s=110.0 + 20 * index, wall_s=58.0 + 10 * index),
        )
        for index, item in enumerate(finetunings)
    ]
    return CostFacts(
        epochs=17,
        once=tuple(
            StageCost(stage=stage, item=item, seconds=Seconds(cpu_s=80.0, wall_s=45.0))
            for stage, items in once.items()
            for item in items
        ),
        finetunings=tuple(finetunings),
        measured=tuple(measured) if is_measured else (),
    )


def _phases(rng: np.random.Generator) -> tuple[PhaseFacts, ...]:
    epochs = {"largest": 9, "kernel": 2, "depth_1": 1, "depth_2": 2, "expand_1": 1, "expand_2": 2}
    phases, done = [], 0
    for name, count in epochs.items():
        facts = []
        for epoch in range(count):
            done += 1
            largest = 0.9 - 0.25 * 0.7**done + rng.normal(0, 0.004)
            smallest = 0.1 if done < 10 else 0.87 - 0.3 * 0.6 ** (done - 9)
            facts.append(
                EpochFacts(
                    epoch=epoch + 1,
                    train_loss=1.5 * 0.9**done,
                    accuracy_smallest=smallest,
                    accuracy_largest=largest,
                )
            )
        phases.append(
            PhaseFacts(
                name=name,
                elastic={
                    "depths": (1, 2, 3),
                    "kernel_sizes": (3, 5, 7),
                    "expand_ratios": (2, 3, 4),
                },
                learning_rate=0.05,
                subnets_per_step=2,
                epochs=tuple(facts),
                digest=DIGEST,
                file=f"artifacts/supernet/{name}/history.parquet",
            )
        )
    return tuple(phases)


def _predictor(rng: np.random.Generator) -> PredictorFacts:
    measured = rng.beta(6, 3, 100) * 0.03 + 0.865
    predicted = measured + rng.normal(0, 0.002, 100)
    return PredictorFacts(
        kind="gaussian_process",
        measured=tuple(measured.tolist()),
        predicted=tuple(predicted.tolist()),
        predicted_std=tuple(rng.uniform(0.001, 0.003, 100).tolist()),
        arch_ids=tuple(f"{i:010x}" for i in range(100)),
        rmse=0.0021,
        kendall_tau=0.84,
        kendall_tau_top_decile=0.42,
        coverage=0.91,
        regret=0.0007,
        noise_std=0.0011,
        learning_curve=tuple(
            LearningPoint(num_samples=count, rmse=0.012 / count**0.4, kendall_tau=0.6 + count / 400)
            for count in (20, 40, 60, 80)
        ),
        files=(
            "artifacts/predictor/cross_validation.parquet",
            "artifacts/predictor/report.json",
        ),
    )


def _device(name: str, rng: np.random.Generator, *, scale: float) -> DeviceFacts:
    measured = np.sort(rng.uniform(0.15, 0.9, 40)) * scale
    estimated = measured * rng.normal(1, 0.03, 40)
    roles = np.array(["fit"] * 30 + ["holdout"] * 10)
    rng.shuffle(roles)
    samples = tuple(
        LatencySample(
            arch_id=f"{index:010x}",
            role=str(role),
            measured_ms=float(one),
            interval=Interval(low=float(one) * 0.985, high=float(one) * 1.015),
            estimated_ms=float(other),
        )
        for index, (role, one, other) in enumerate(zip(roles, measured, estimated, strict=True))
    )
    return DeviceFacts(
        name=name,
        latency=LatencyFacts(
            card={
                "runtime": "onnxruntime 1.31.0",
                "accelerator": "cpu",
                "precision": "fp32",
                "threads": 1,
                "batch size": 1,
            },
            samples=samples,
            noise_cv=0.012,
            num_contended=1,
            files=(f"artifacts/latency/{name}/samples.parquet",),
        ),
        search=_search(name, rng, scale=scale),
        subnets=tuple(_subnet(name, index, scale=scale) for index in range(3)),
        model_name=f"ofa-mobilenet_v3_small_images-{name}",
    )


def _search(name: str, rng: np.random.Generator, *, scale: float) -> SearchFacts:
    latency = np.linspace(0.16, 0.95, 60)
    accuracy = 0.9 - 0.006 / latency
    budgets = np.array(BUDGETS_MS)
    near = np.concatenate([rng.normal(budget * 0.96, 0.01, 5) for budget in budgets])
    level = 0.9 - 0.006 / near + rng.normal(0, 0.002, len(near))
    return SearchFacts(
        front=tuple(
            FrontPoint(arch_id=f"{i:010x}", latency_ms=float(x) * scale, accuracy_top1=float(y))
            for i, (x, y) in enumerate(zip(latency, accuracy, strict=True))
        ),
        verified=tuple(
            FrontPoint(arch_id=f"{i:010x}", latency_ms=float(x) * scale, accuracy_top1=float(y))
            for i, (x, y) in enumerate(zip(near, level, strict=True))
        ),
        picks=tuple(
            PickFacts(
                budget_ms=float(budget) * scale,
                arch_id=f"{i:010x}",
                latency_ms=float(budget) * 0.955 * scale,
                accuracy_top1=float(0.901 - 0.006 / budget),
                num_tied=i,
            )
            for i, budget in enumerate(budgets)
        ),
        noise_std=0.0011,
        num_rounds=2,
        is_stable=True,
        accuracy_rmse=0.0019,
        latency_mape=0.021,
        files=(f"artifacts/search/{name}/front.parquet", f"artifacts/search/{name}/picks.json"),
    )


def _subnet(device: str, index: int, *, scale: float) -> SubnetFacts:
    budget = BUDGETS_MS[index] * scale
    accuracy = 0.872 + 0.009 * index
    return SubnetFacts(
        device=device,
        name=f"subnet-{index}",
        budgets_ms=(budget,),
        arch=Arch(
            resolution_px=16 + 4 * index,
            depths=(1, 2, 1 + index),
            kernel_sizes=(3,) * (4 + index),
            expand_ratios=(2.0,) * (4 + index),
        ),
        accuracy_top1=accuracy,
        accuracy_interval=proportion_interval(accuracy, count=2640),
        num_test_images=2640,
        accuracy_selection_extracted=accuracy - 0.004,
        accuracy_selection=accuracy + 0.001,
        p50_ms=budget * 0.96,
        p50_interval=Interval(low=budget * 0.95, high=budget * 0.972),
        p95_ms=budget * 1.1,
        num_runs=60,
        macs=1_234_000 * (index + 1),
        num_params=98_765 * (index + 1),
        is_contended=False,
        verdict="within",
        shipped_file="model.onnx",
        parity_max_abs_difference=3.1e-6,
        parity_top1_agreement=1.0,
        digest=DIGEST,
        file=f"artifacts/subnets/{device}/subnet-{index}/card.json",
    )


def _counts(rng: np.random.Generator) -> tuple[tuple[int, ...], ...]:
    rows = []
    for index in range(len(CLASSES)):
        shares = np.full(len(CLASSES), 0.004)
        shares[(index + 2) % len(CLASSES)] = 0.05
        shares[index] = 0.0
        shares[index] = 1 - shares.sum()
        rows.append(tuple(int(value) for value in rng.multinomial(264, shares)))
    return tuple(rows)


def page_of(contents: ReportContents) -> str:
    """Return the page of a report with its charts."""
    return render_page(contents, draw_all(contents))
