"""Stage ``collect_accuracy``: accuracy of an initial design of subnets, and its noise."""

import shutil

from ofa_pipeline.artifacts import Layout, digest_input, digest_json, write_artifact, write_json
from ofa_pipeline.data import open_dataset
from ofa_pipeline.evaluation import (
    AccuracyBench,
    accuracy_columns,
    initial_design,
    label_noise,
    plan_accuracy_tasks,
)
from ofa_pipeline.measuring import MeasurementLog, measure_all
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs
from ofa_pipeline.tables import ACCURACY_SCHEMA, write_table
from ofa_pipeline.training import deterministic

NAME = "collect_accuracy"


def run(context: StageContext) -> None:
    """Measure the design and write the accuracy table and the label noise."""
    with deterministic(threads=context.params.evaluation.threads):
        _collect(context)


def _collect(context: StageContext) -> None:
    layout, params = context.layout, context.params
    inputs = stage_inputs(find_stage(NAME), context)
    digests = [digest_input(path) for path in inputs["inputs"]]
    num_classes = open_dataset(layout.dataset).num_classes
    bench = AccuracyBench(
        layout.dataset,
        layout.supernet_weights(params.final_phase),
        calibration_images=params.evaluation.calibration_images,
        batch_size=params.evaluation.batch_size,
    )
    space = bench.evaluator.supernet.space
    genes = initial_design(
        space,
        num_archs=params.accuracy.num_subnets,
        num_classes=num_classes,
        seed=params.accuracy.seed,
    )
    tasks = plan_accuracy_tasks(space.archs(genes), num_repeats=params.accuracy.num_noise_repeats)
    scratch = layout.scratch(NAME, digest_json([inputs["params"], digests]))
    log = MeasurementLog(
        scratch / "measurements.jsonl", reporter=context.reporter, stopwatch=context.stopwatch
    )
    rows = measure_all(tasks, bench, log=log, executor=context.executor, label="subnets")
    noise = label_noise(tasks, rows)
    with write_artifact(layout.accuracy, **inputs) as writer:
        columns = accuracy_columns(space, tasks, rows, num_classes=num_classes)
        write_table(writer.folder / "accuracy.parquet", ACCURACY_SCHEMA, columns)
        write_json(writer.folder / Layout.ACCURACY_NOISE, noise.to_dict())
        accuracies = [row["accuracy_top1"] for row in rows]
        writer.summary |= {
            **noise.to_dict(),
            "num_subnets": len(genes),
            "accuracy_top1_min": min(accuracies),
            "accuracy_top1_max": max(accuracies),
        }
    shutil.rmtree(scratch, ignore_errors=True)
