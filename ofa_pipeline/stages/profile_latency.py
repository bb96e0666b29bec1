"""Stage ``profile_latency``: measure subnets on a device, fit and check its latency model."""

from collections.abc import Sequence

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.compute import SERIAL
from ofa_pipeline.devices import DeviceCard, describe_device
from ofa_pipeline.devices.elsewhere import ElsewhereStore
from ofa_pipeline.documents import ClassNames, read_document
from ofa_pipeline.latency import (
    ElsewhereBench,
    LatencyBench,
    LatencyTask,
    fit_profile,
    plan_latency_tasks,
    profile_messages,
    sample_columns,
    samples_on_one_scale,
    save_latency_model,
    save_profile_card,
    stale_reasons,
)
from ofa_pipeline.measuring import Row, measure_all
from ofa_pipeline.params import Params
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.stages.run import StageRun
from ofa_pipeline.tables import LATENCY_SCHEMA, write_table


def run(stage: StageRun) -> None:
    """Measure the design on the device and write samples, model and card."""
    device, settings, space = stage.item, stage.params.latency, stage.params.space.build()
    if stage.params.devices[device].card.location is None:
        describe_device(stage.params.devices[device].card)  # or say at once why it cannot be
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
    card, rows = _measure(stage, tasks, space, num_classes=num_classes)
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


def _measure(
    stage: StageRun, tasks: Sequence[LatencyTask], space: SearchSpace, *, num_classes: int
) -> tuple[DeviceCard, list[Row]]:
    """Measure here, or have it measured where the device is; return the device's card, too."""
    device, settings = stage.params.devices[stage.item].card, stage.params.latency
    if device.location is not None:
        store = ElsewhereStore(stage.layout, stage.item, cluster=stage.cluster)
        bench = _bench(store, stage.params, num_classes=num_classes, reporter=stage.reporter)
        return bench.profile(tasks)
    card = describe_device(device)
    rows = measure_all(
        tasks,
        LatencyBench(
            device,
            space,
            num_classes=num_classes,
            warmup_runs=settings.warmup_runs,
            timed_runs=settings.timed_runs,
        ),
        log=stage.log(card.fingerprint),  # what another machine measured does not count
        executor=SERIAL,
        label=f"latency on {stage.item}",
        shown=("p50_ms",),
    )
    return card, rows


def missing_outside(layout: Layout, params: Params, item: str | None) -> tuple[str, ...]:
    """Return what a device has become since it was profiled: its profile is stale then.

    A host is asked over ssh; one that cannot be reached is as it was until it is measured on, when
    its script refuses another machine than that of the profile.
    """
    device = item or ""
    folder, settings, found = layout.latency(device), params.device(device).card, None
    if (settings.location or "").startswith("ssh://") and folder.exists():
        # Nothing is measured, so it matters not how many classes there are.
        found = _bench(ElsewhereStore(layout, device), params, num_classes=1).ask()
    return stale_reasons(folder, settings, found=found)


def _bench(
    store: ElsewhereStore, params: Params, *, num_classes: int, reporter: Reporter = SILENT
) -> ElsewhereBench:
    return ElsewhereBench(
        store=store,
        settings=params.devices[store.device].card,
        space=params.space.build(),
        num_classes=num_classes,
        warmup_runs=params.latency.warmup_runs,
        timed_runs=params.latency.timed_runs,
        reporter=reporter,
    )
