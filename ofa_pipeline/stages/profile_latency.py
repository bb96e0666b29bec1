"""Stage ``profile_latency``: measure subnets on a device, fit and check its latency model."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ofa_pipeline.arch import Arch, FloatArray, Genes, SearchSpace
from ofa_pipeline.artifacts import (
    Layout,
    digest_input,
    digest_json,
    read_json,
    write_artifact,
)
from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.devices import (
    LatencyMeasurement,
    LatencyMeter,
    ReferenceNetwork,
    Runtime,
    build_runtime,
    quiet_reference_ms,
)
from ofa_pipeline.latency import (
    LatencyModel,
    LatencyProfile,
    build_measured_subnet,
    design_subnets,
    reference_arch,
    report_errors,
    save_latency_model,
    save_profile_card,
)
from ofa_pipeline.params import LatencyParams
from ofa_pipeline.progress import Reporter
from ofa_pipeline.resume import ResumeLog
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs
from ofa_pipeline.tables import LATENCY_SCHEMA, arch_columns, write_table

NAME = "profile_latency"
Role = Literal["reference", "fit", "holdout", "repeat"]
NUM_REPEATED_SUBNETS = 4
NUM_REPEATS = 2
"""Further measurements of each of them, after all others: the noise of a measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One subnet to measure."""

    arch: Arch
    role: Role
    repeat: int = 0

    @property
    def key(self) -> str:
        """Name of the task in the scratch file."""
        return f"{self.role} {self.arch.arch_id} {self.repeat}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A measured subnet."""

    task: Task
    measurement: LatencyMeasurement


def run(context: StageContext) -> None:
    """Measure the design on the device and write samples, model and card."""
    layout, params = context.layout, context.params
    device = context.item or ""
    runtime = build_runtime(params.device(device).card)
    inputs = stage_inputs(find_stage(NAME), context)
    space = params.space.build()
    num_classes = _num_classes(layout)
    tasks = plan_tasks(space, params.latency, num_classes=num_classes)
    scratch = layout.scratch(NAME, _scratch_key(inputs, runtime))
    samples = _measure(
        tasks,
        _Bench(runtime, space, params.latency, num_classes=num_classes),
        rows_path=scratch / "rows.jsonl",
        context=context,
    )
    profile, report = _summarize(space, samples, runtime, num_classes=num_classes)
    with write_artifact(layout.latency(device), **inputs) as writer:
        _write_samples(writer.folder / "samples.parquet", space, samples, profile.model)
        save_latency_model(profile.model, writer.folder, report=report)
        save_profile_card(profile, writer.folder, settings=params.latency.model_dump(mode="json"))
        writer.summary.update(
            device=profile.card.to_dict(),
            smallest_ms=profile.smallest_ms,
            largest_ms=profile.largest_ms,
            holdout_mape=report["holdout"]["mape"],
            holdout_within_10_percent=report["holdout"]["share_within_10_percent"],
            noise_cv=report["noise"]["cv"],
        )
    shutil.rmtree(scratch, ignore_errors=True)
    _tell(context.reporter, device, samples, report)


def plan_tasks(space: SearchSpace, params: LatencyParams, *, num_classes: int) -> list[Task]:
    """Return what to measure, in order: reference, design, held-out subnets, repeats."""
    fit, holdout = design_subnets(
        space,
        num_classes=num_classes,
        num_subnets=params.num_subnets,
        num_holdout=params.num_holdout,
        seed=params.seed,
    )
    designed = space.archs(fit)
    # Spread over the design, which begins with the smallest and the largest subnet.
    count = min(NUM_REPEATED_SUBNETS, len(designed))
    again = [designed[index] for index in np.linspace(0, len(designed) - 1, count).astype(int)]
    return [
        Task(arch=reference_arch(space), role="reference"),
        *[Task(arch=arch, role="fit") for arch in designed],
        *[Task(arch=arch, role="holdout") for arch in space.archs(holdout)],
        *[
            Task(arch=arch, role="repeat", repeat=repeat)
            for repeat in range(NUM_REPEATS)
            for arch in again
        ],
    ]


class _Bench:
    """The device's meter, made when the first subnet is measured."""

    def __init__(
        self, runtime: Runtime, space: SearchSpace, params: LatencyParams, *, num_classes: int
    ) -> None:
        self._runtime = runtime
        self._space = space
        self._params = params
        self._num_classes = num_classes
        self._meter: LatencyMeter | None = None

    def measure(self, arch: Arch) -> LatencyMeasurement:
        if self._meter is None:
            self._meter = self._build_meter()
        subnet = build_measured_subnet(self._space, arch, num_classes=self._num_classes)
        return self._meter.measure(subnet, resolution_px=arch.resolution_px)

    def _build_meter(self) -> LatencyMeter:
        arch = reference_arch(self._space)
        network = build_measured_subnet(self._space, arch, num_classes=self._num_classes)
        return LatencyMeter(
            self._runtime,
            ReferenceNetwork(network=network, resolution_px=arch.resolution_px),
            warmup_runs=self._params.warmup_runs,
            timed_runs=self._params.timed_runs,
        )


def _measure(
    tasks: Sequence[Task], bench: _Bench, *, rows_path: Path, context: StageContext
) -> list[Sample]:
    """Measure what an earlier, interrupted run has not measured yet."""
    log = ResumeLog(rows_path, reporter=context.reporter)
    if log.rows:
        context.stopwatch.expect_earlier()
    known = {key: LatencyMeasurement.from_dict(row) for key, row in log.rows.items()}
    label = f"latency on {context.item}"
    tracker = context.reporter.track(label, total=len(tasks), unit="subnets")
    tracker.skip(sum(task.key in known for task in tasks))
    for task in tasks:
        if task.key in known:
            continue
        known[task.key] = bench.measure(task.arch)
        log.append(task.key, known[task.key].to_dict())
        context.stopwatch.note()
        tracker.advance(latency_ms=known[task.key].p50_ms)
    # One scale for all, also for what was measured before an interruption.
    reference_ms = quiet_reference_ms([known[task.key].reference_p10_ms for task in tasks])
    return [Sample(task=task, measurement=known[task.key].rescaled(reference_ms)) for task in tasks]


def _summarize(
    space: SearchSpace, samples: Sequence[Sample], runtime: Runtime, *, num_classes: int
) -> tuple[LatencyProfile, dict[str, Any]]:
    fit, holdout = (_of_role(samples, role) for role in ("fit", "holdout"))
    model = LatencyModel.fit(space, _genes(space, fit), _p50_ms(fit), num_classes=num_classes)
    profile = LatencyProfile(
        card=runtime.card,
        model=model,
        reference=_of_role(samples, "reference")[0].task.arch,
        reference_ms=samples[0].measurement.reference_ms,
        smallest_ms=_latency_of(space.smallest, fit),
        largest_ms=_latency_of(space.largest, fit),
    )
    report = {
        "fit": report_errors(_p50_ms(fit), model.predict(space, _genes(space, fit))).to_dict(),
        "holdout": report_errors(
            _p50_ms(holdout), model.predict(space, _genes(space, holdout))
        ).to_dict(),
        "noise": measurement_noise(samples),
    }
    return profile, report


def measurement_noise(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return how well measurements of the same subnet repeat.

    Args:
        samples: With the role "repeat" for the further measurements of some fitted subnets.

    Returns:
        ``cv``: standard deviation over the mean, pooled over subnets; ``num_subnets``,
        ``num_measurements``; ``num_contended``: measurements on a machine that was never quiet.
    """
    repeated = {sample.task.arch for sample in _of_role(samples, "repeat")}
    variances = []
    for arch in repeated:
        same = [
            sample.measurement.p50_ms
            for sample in samples
            if sample.task.arch == arch and sample.task.role in ("fit", "repeat")
        ]
        variances.append(np.var(same, ddof=1) / np.mean(same) ** 2)
    return {
        "cv": float(np.sqrt(np.mean(variances))),
        "num_subnets": len(repeated),
        "num_measurements": len(repeated) * (NUM_REPEATS + 1),
        "num_contended": sum(sample.measurement.is_contended for sample in samples),
    }


def _tell(
    reporter: Reporter, device: str, samples: Sequence[Sample], report: dict[str, Any]
) -> None:
    holdout, noise = report["holdout"], report["noise"]
    reporter.message(
        f"{device}: {holdout['share_within_10_percent']:.0%} of {holdout['num_subnets']} held-out "
        f"subnets within 10 %, mean error {holdout['mape']:.1%}; measurements repeat to "
        f"{noise['cv']:.1%}"
    )
    if noise["num_contended"] * 2 > len(samples):
        reporter.message(
            f"{device}: the machine was busy during {noise['num_contended']} of {len(samples)} "
            "measurements; profile it again when it is quiet for sharper figures"
        )


def _write_samples(
    path: Path, space: SearchSpace, samples: Sequence[Sample], model: LatencyModel
) -> None:
    genes = _genes(space, samples)
    cost = estimate_cost(space, genes, num_classes=model.num_classes)
    measured = [sample.measurement for sample in samples]
    write_table(
        path,
        LATENCY_SCHEMA,
        {
            **arch_columns(
                [sample.task.arch for sample in samples], macs=cost.macs, num_params=cost.num_params
            ),
            "p50_ms": [m.p50_ms for m in measured],
            "p95_ms": [m.p95_ms for m in measured],
            "ci_low_ms": [m.ci_low_ms for m in measured],
            "ci_high_ms": [m.ci_high_ms for m in measured],
            "num_runs": [m.num_runs for m in measured],
            "latency_ms_estimated": model.predict(space, genes),
            "role": [sample.task.role for sample in samples],
        },
    )


def _num_classes(layout: Layout) -> int:
    values = read_json(
        layout.dataset / "classes.json", made_by="ofa-pipeline stage prepare_dataset"
    )
    return len(values["class_names"])


def _scratch_key(inputs: dict[str, Any], runtime: Runtime) -> str:
    digests = [digest_input(path) for path in inputs["inputs"]]
    return digest_json(
        {
            "item": inputs["item"],
            "params": inputs["params"],
            "inputs": digests,
            "device": runtime.card.fingerprint,
        }
    )


def _of_role(samples: Sequence[Sample], role: Role) -> list[Sample]:
    return [sample for sample in samples if sample.task.role == role]


def _genes(space: SearchSpace, samples: Sequence[Sample]) -> Genes:
    return space.genes([sample.task.arch for sample in samples])


def _p50_ms(samples: Sequence[Sample]) -> FloatArray:
    return np.array([sample.measurement.p50_ms for sample in samples])


def _latency_of(arch: Arch, samples: Sequence[Sample]) -> float:
    return next(s.measurement.p50_ms for s in samples if s.task.arch == arch)
