"""Stage ``collect_accuracy``: accuracy of an initial design of subnets, and its noise."""

from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.data import open_dataset
from ofa_pipeline.evaluation import (
    AccuracyBench,
    accuracy_columns,
    initial_design,
    label_noise,
    plan_accuracy_tasks,
)
from ofa_pipeline.measuring import measure_all
from ofa_pipeline.stages.run import StageRun
from ofa_pipeline.supernet import check_supernet
from ofa_pipeline.tables import ACCURACY_SCHEMA, write_table
from ofa_pipeline.training import deterministic


def run(stage: StageRun) -> None:
    """Measure the design and write the accuracy table and the label noise."""
    with deterministic(threads=stage.params.evaluation.threads):
        _collect(stage)


def _collect(stage: StageRun) -> None:
    layout, params = stage.layout, stage.params
    space, num_classes = params.space.build(), open_dataset(layout.dataset).num_classes
    genes = initial_design(
        space,
        num_archs=params.accuracy.num_subnets,
        num_classes=num_classes,
        seed=params.accuracy.seed,
    )
    tasks = plan_accuracy_tasks(space.archs(genes), num_repeats=params.accuracy.num_noise_repeats)
    weights = layout.supernet_weights(params.final_phase)
    bench = AccuracyBench(
        layout.dataset,
        weights,
        calibration_images=params.evaluation.calibration_images,
        batch_size=params.evaluation.batch_size,
    )
    check_supernet(
        bench.evaluator.supernet,
        space,
        num_classes=num_classes,
        path=weights,
        remake="ofa-pipeline run",
    )
    rows = measure_all(tasks, bench, log=stage.log(), executor=stage.executor, label="subnets")
    noise, accuracies = label_noise(tasks, rows), [row["accuracy_top1"] for row in rows]
    columns = accuracy_columns(space, tasks, rows, num_classes=num_classes)
    with stage.writing() as writer:
        write_table(writer.folder / Layout.ACCURACIES, ACCURACY_SCHEMA, columns)
        write_json(writer.folder / Layout.ACCURACY_NOISE, noise.to_dict())
        writer.summary |= {
            **noise.to_dict(),
            "num_subnets": len(genes),
            "accuracy_top1_min": min(accuracies),
            "accuracy_top1_max": max(accuracies),
        }
