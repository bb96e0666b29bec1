"""What the measured subnets of a device say: its latency model, and how far to trust it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ofa_pipeline.arch import Arch, FloatArray, Genes, SearchSpace
from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.devices import DeviceCard, quiet_reference_ms
from ofa_pipeline.documents import LatencyReport, LatencySelection, MeasurementNoise
from ofa_pipeline.latency.bench import NUM_REPEATS, LatencyTask, Role, Sample
from ofa_pipeline.latency.fit import fit_latency
from ofa_pipeline.latency.model import LatencyModel
from ofa_pipeline.latency.noise import pooled_cv
from ofa_pipeline.latency.profile import LatencyProfile
from ofa_pipeline.latency.reporting import MORE_SUBNETS, report_errors, report_selection
from ofa_pipeline.tables import arch_columns


def samples_on_one_scale(
    tasks: Sequence[LatencyTask], rows: Sequence[Mapping[str, Any]]
) -> list[Sample]:
    """Return the measurements with one latency of the reference network for all of them.

    Args:
        tasks: The tasks that were measured, by one process or by several.
        rows: What a `LatencyBench` returned for each.
    """
    samples = [Sample.of(task, row) for task, row in zip(tasks, rows, strict=True)]
    reference_ms = quiet_reference_ms([sample.measurement.reference_p10_ms for sample in samples])
    return [
        replace(sample, measurement=sample.measurement.rescaled(reference_ms)) for sample in samples
    ]


def fit_profile(
    space: SearchSpace, samples: Sequence[Sample], card: DeviceCard, *, num_classes: int
) -> tuple[LatencyProfile, LatencyReport]:
    """Fit the latency model of a device, and check it on the held-out subnets.

    Args:
        space: The space that the subnets are of.
        samples: In the order of `plan_latency_tasks`.
        card: The card of the device.
        num_classes: Length of the logits.

    Returns:
        The profile, and a report: the errors of the model on what it was fitted to and on the
        held-out subnets, and the noise of a measurement.
    """
    fit, holdout = (_of_role(samples, role) for role in ("fit", "holdout"))
    fitted = fit_latency(space, _genes(space, fit), _p50_ms(fit), num_classes=num_classes)
    model, noise = fitted.model, measurement_noise(samples)
    profile = LatencyProfile(
        card=card,
        model=model,
        reference=_of_role(samples, "reference")[0].task.arch,
        reference_ms=samples[0].measurement.reference_ms,
        smallest_ms=_latency_of(space.smallest, fit),
        largest_ms=_latency_of(space.largest, fit),
    )
    errors = {
        role: report_errors(
            _p50_ms(chosen),
            model.predict(space, _genes(space, chosen)),
            interval=model.interval,
        )
        for role, chosen in (("fit", fit), ("holdout", holdout))
    }
    selection = report_selection(
        space,
        fitted,
        holdout=_genes(space, holdout),
        holdout_ms=_p50_ms(holdout),
        noise_cv=noise.cv,
    )
    return profile, LatencyReport(
        fit=errors["fit"], holdout=errors["holdout"], noise=noise, selection=selection
    )


def measurement_noise(samples: Sequence[Sample]) -> MeasurementNoise:
    """Return how well measurements of the same subnet repeat.

    Args:
        samples: With the role "repeat" for the further measurements of some fitted subnets.
    """
    repeated = {sample.task.arch for sample in _of_role(samples, "repeat")}
    same = [
        [
            sample.measurement.p50_ms
            for sample in samples
            if sample.task.arch == arch and sample.task.role in ("fit", "repeat")
        ]
        for arch in repeated
    ]
    return MeasurementNoise(
        cv=pooled_cv(same),
        num_subnets=len(repeated),
        num_measurements=len(repeated) * (NUM_REPEATS + 1),
        num_contended=sum(sample.measurement.is_contended for sample in samples),
    )


def sample_columns(
    space: SearchSpace, samples: Sequence[Sample], model: LatencyModel
) -> dict[str, Any]:
    """Return the columns of `ofa_pipeline.tables.LATENCY_SCHEMA`, one row a sample."""
    genes = _genes(space, samples)
    cost = estimate_cost(space, genes, num_classes=model.num_classes)
    measured = [sample.measurement for sample in samples]
    archs = [sample.task.arch for sample in samples]
    return {
        **arch_columns(archs, macs=cost.macs, num_params=cost.num_params),
        "p50_ms": [m.p50_ms for m in measured],
        "p95_ms": [m.p95_ms for m in measured],
        "ci_low_ms": [m.ci_low_ms for m in measured],
        "ci_high_ms": [m.ci_high_ms for m in measured],
        "num_runs": [m.num_runs for m in measured],
        "latency_ms_estimated": model.predict(space, genes),
        "role": [sample.task.role for sample in samples],
        "load_ms": [m.load_ms for m in measured],
        "first_call_ms": [m.first_call_ms for m in measured],
        "peak_memory_mb": [m.peak_memory_mb for m in measured],
        "network_memory_mb": [m.network_memory_mb for m in measured],
    }


def profile_messages(
    device: str, samples: Sequence[Sample], report: LatencyReport
) -> tuple[str, ...]:
    """Return what a profiling came to, in lines for people.

    Args:
        device: Its name.
        samples: What was measured.
        report: See `fit_profile`.
    """
    holdout, noise = report.holdout, report.noise
    selection = report.selection
    found = (
        f"{device}: {holdout.share_within_10_percent:.0%} of {holdout.num_subnets} held-out "
        f"subnets within 10 %, mean error {holdout.mape:.1%}; measurements repeat to "
        f"{noise.cv:.1%}"
    )
    trust = () if selection is None else (_trust(device, report, selection),)
    lines = (found, *trust, *(f"{device}: {text}" for text in _first_run(samples)))
    if noise.num_contended * 2 <= len(samples):
        return lines
    return (
        *lines,
        f"{device}: the machine was busy during {noise.num_contended} of {len(samples)} "
        "measurements; profile it again when it is quiet for sharper figures",
    )


def _first_run(samples: Sequence[Sample]) -> Iterator[str]:
    """Say what the subnets take before they answer, and whether calls still became faster."""
    measured = [sample.measurement for sample in samples]
    spans = [
        ("opening the file of a subnet takes", [m.load_ms for m in measured], "ms"),
        ("its first call", [m.first_call_ms for m in measured], "ms"),
        ("its memory", [m.network_memory_mb for m in measured], "MB"),
    ]
    parts = []
    for what, values, unit in spans:
        known = [value for value in values if value is not None]
        span = f"{min(known):.3g} to {max(known):.3g} {unit}" if known else "not measured"
        parts.append(f"{what} {span}")
    yield ", ".join(parts)
    if num_cold := sum(m.is_warm is False for m in measured):
        yield (
            f"calls still became faster when they were timed in {num_cold} of {len(measured)} "
            "measurements: let more of them pass (latency.warmup_runs), or find out what else runs"
        )


def _trust(device: str, report: LatencyReport, selection: LatencySelection) -> str:
    """Say what the model set aside, how its interval holds, and what measuring more would give."""
    parts = [
        f"{device}: {report.holdout.coverage or 0:.0%} of them within the prediction interval",
        f"{MORE_SUBNETS} more subnets would bring the mean error to about "
        f"{selection.mape_with_20_more:.1%}",
    ]
    if selection.outliers:
        listed = ", ".join(selection.outliers)
        parts.append(f"set aside as outliers: {listed}")
    if selection.share_launch_bound:
        parts.append(f"launching bounds {selection.share_launch_bound:.0%} of the fitted subnets")
    return "; ".join(parts)


def _of_role(samples: Sequence[Sample], role: Role) -> list[Sample]:
    return [sample for sample in samples if sample.task.role == role]


def _genes(space: SearchSpace, samples: Sequence[Sample]) -> Genes:
    return space.genes([sample.task.arch for sample in samples])


def _p50_ms(samples: Sequence[Sample]) -> FloatArray:
    return np.array([sample.measurement.p50_ms for sample in samples])


def _latency_of(arch: Arch, samples: Sequence[Sample]) -> float:
    return next(s.measurement.p50_ms for s in samples if s.task.arch == arch)
