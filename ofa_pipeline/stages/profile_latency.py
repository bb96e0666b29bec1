"""Stage ``profile_latency``: measure subnets on a device, fit and check its latency model."""

import shutil
from typing import Any

from ofa_pipeline.artifacts import Layout, digest_input, digest_json, write_artifact
from ofa_pipeline.compute import SERIAL
from ofa_pipeline.devices import DeviceCard, describe_device
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
)
from ofa_pipeline.measuring import MeasurementLog, measure_all
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs
from ofa_pipeline.tables import LATENCY_SCHEMA, write_table

NAME = "profile_latency"


def run(context: StageContext) -> None:
    """Measure the design on the device and write samples, model and card."""
    layout, params = context.layout, context.params
    device = context.item or ""
    settings = params.device(device).card
    card = describe_device(settings)
    inputs = stage_inputs(find_stage(NAME), context)
    space = params.space.build()
    num_classes = _num_classes(layout)
    tasks = plan_latency_tasks(
        space,
        num_classes=num_classes,
        num_subnets=params.latency.num_subnets,
        num_holdout=params.latency.num_holdout,
        seed=params.latency.seed,
    )
    bench = LatencyBench(
        settings,
        space,
        num_classes=num_classes,
        warmup_runs=params.latency.warmup_runs,
        timed_runs=params.latency.timed_runs,
    )
    scratch = layout.scratch(NAME, _scratch_key(inputs, card))
    log = MeasurementLog(
        scratch / "rows.jsonl", reporter=context.reporter, stopwatch=context.stopwatch
    )
    rows = measure_all(
        tasks, bench, log=log, executor=SERIAL, label=f"latency on {device}", shown=("p50_ms",)
    )
    samples = samples_on_one_scale(tasks, rows)
    profile, report = fit_profile(space, samples, card, num_classes=num_classes)
    with write_artifact(layout.latency(device), **inputs) as writer:
        columns = sample_columns(space, samples, profile.model)
        write_table(writer.folder / "samples.parquet", LATENCY_SCHEMA, columns)
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
    for message in profile_messages(device, samples, report):
        context.reporter.message(message)


def _num_classes(layout: Layout) -> int:
    remake = "ofa-pipeline stage prepare_dataset"
    classes = read_document(layout.dataset / Layout.CLASSES, ClassNames, remake=remake)
    return len(classes.class_names)


def _scratch_key(inputs: dict[str, Any], card: DeviceCard) -> str:
    digests = [digest_input(path) for path in inputs["inputs"]]
    return digest_json(
        {
            "item": inputs["item"],
            "params": inputs["params"],
            "inputs": digests,
            "device": card.fingerprint,
        }
    )
