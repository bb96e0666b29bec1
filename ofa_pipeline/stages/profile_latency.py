"""Stage ``profile_latency``: measure subnets on a device, fit and check its latency model."""

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.compute import SERIAL
from ofa_pipeline.devices import describe_device
from ofa_pipeline.documents import ClassNames, read_document
from ofa_pipeline.latency import (
    LatencyBench,
    fit_profile,
    plan_latency_tasks,
    profile_messages,
    sample_columns,
    samples_on_one_scale,
    save_latency_model,
    save_profile_card,
    stale_reasons,
)
from ofa_pipeline.measuring import measure_all
from ofa_pipeline.params import Params
from ofa_pipeline.stages.run import StageRun
from ofa_pipeline.tables import LATENCY_SCHEMA, write_table


def run(stage: StageRun) -> None:
    """Measure the design on the device and write samples, model and card."""
    device, settings, space = stage.item, stage.params.latency, stage.params.space.build()
    card = describe_device(stage.params.devices[device].card)
    path, remake = stage.layout.dataset / Layout.CLASSES, "ofa-pipeline stage prepare_dataset"
    classes = read_document(path, ClassNames, remake=remake)
    num_classes = len(classes.class_names)
    tasks = plan_latency_tasks(
        space,
        num_classes=num_classes,
        num_subnets=settings.num_subnets,
        num_holdout=settings.num_holdout,
        seed=settings.seed,
    )
    bench = LatencyBench(
        stage.params.devices[device].card,
        space,
        num_classes=num_classes,
        warmup_runs=settings.warmup_runs,
        timed_runs=settings.timed_runs,
    )
    log = stage.log(card.fingerprint)  # what another machine measured does not count
    rows = measure_all(
        tasks, bench, log=log, executor=SERIAL, label=f"latency on {device}", shown=("p50_ms",)
    )
    samples = samples_on_one_scale(tasks, rows)
    profile, report = fit_profile(space, samples, card, num_classes=num_classes)
    with stage.writing() as writer:
        columns = sample_columns(space, samples, profile.model)
        write_table(writer.folder / Layout.LATENCIES, LATENCY_SCHEMA, columns)
        save_latency_model(profile.model, writer.folder, report=report)
        save_profile_card(profile, writer.folder, settings=settings.model_dump(mode="json"))
        writer.summary |= {
            "device": profile.card.to_dict(),
            "smallest_ms": profile.smallest_ms,
            "largest_ms": profile.largest_ms,
            "form": profile.model.form,
            "holdout_mape": report.holdout.mape,
            "holdout_coverage": report.holdout.coverage,
            "holdout_within_10_percent": report.holdout.share_within_10_percent,
            "noise_cv": report.noise.cv,
        }
    for message in profile_messages(device, samples, report):
        stage.reporter.message(message)


def missing_outside(layout: Layout, params: Params, item: str | None) -> tuple[str, ...]:
    """Return what a device has become since it was profiled: its profile is stale then."""
    device = item or ""
    return stale_reasons(layout.latency(device), params.device(device).card)
