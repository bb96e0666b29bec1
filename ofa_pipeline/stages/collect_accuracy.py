"""Stage ``collect_accuracy``: accuracy of an initial design of subnets, and its noise."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import digest_input, digest_json, write_artifact, write_json
from ofa_pipeline.cores import usable_cores
from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.data import Dataset, open_dataset
from ofa_pipeline.evaluation import SubnetAccuracy, SubnetEvaluator, initial_design
from ofa_pipeline.params import EvaluationParams
from ofa_pipeline.resume import ResumeLog
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs
from ofa_pipeline.supernet import Supernet, load_supernet
from ofa_pipeline.tables import ACCURACY_SCHEMA, arch_columns, write_table
from ofa_pipeline.training import deterministic

NAME = "collect_accuracy"
NUM_NOISE_SUBNETS = 5
"""Subnets, spread over the design, whose accuracy is measured with further calibration draws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One accuracy to measure."""

    arch: Arch
    calibration_draw: int

    @property
    def key(self) -> str:
        """Name of the task in the scratch file."""
        return f"{self.arch.arch_id} {self.calibration_draw}"


def run(context: StageContext) -> None:
    """Measure the design and write the accuracy table and the label noise."""
    with deterministic(threads=context.params.evaluation.threads):
        _collect(context)


def _collect(context: StageContext) -> None:
    layout, params = context.layout, context.params
    inputs = stage_inputs(find_stage(NAME), context)
    digests = [digest_input(path) for path in inputs["inputs"]]
    dataset = open_dataset(layout.dataset)
    supernet = load_supernet(layout.supernet_weights(params.final_phase))
    space = supernet.space
    genes = initial_design(
        space,
        num_archs=params.accuracy.num_subnets,
        num_classes=dataset.num_classes,
        seed=params.accuracy.seed,
    )
    tasks = plan_tasks(space.archs(genes), num_repeats=params.accuracy.num_noise_repeats)
    scratch = layout.scratch(NAME, digest_json([inputs["params"], digests]))
    evaluator = evaluator_of(supernet, dataset, params.evaluation)
    log = MeasurementLog(scratch / "measurements.jsonl", reporter=context.reporter)
    if log.rows:
        context.stopwatch.expect_earlier()
    _measure(tasks, evaluator, log, context)
    rows = [log.rows[task.key] for task in tasks]
    noise = label_noise(tasks, rows)
    with write_artifact(layout.accuracy, **inputs) as writer:
        columns = _columns(space, tasks, rows, num_classes=dataset.num_classes)
        write_table(writer.folder / "accuracy.parquet", ACCURACY_SCHEMA, columns)
        write_json(writer.folder / "noise.json", noise)
        accuracies = [row["accuracy_top1"] for row in rows]
        writer.summary |= {
            **noise,
            "num_subnets": len(genes),
            "accuracy_top1_min": min(accuracies),
            "accuracy_top1_max": max(accuracies),
        }
    shutil.rmtree(scratch, ignore_errors=True)


def _measure(
    tasks: Sequence[Task], evaluator: SubnetEvaluator, log: "MeasurementLog", context: StageContext
) -> None:
    """Measure what the log lacks, as many subnets at a time as the cores allow.

    Each subnet is computed with as many threads as params.yaml says, so the accuracies do not
    depend on the number of cores. On CUDA the device itself works in parallel.
    """
    progress = context.reporter.track("subnets", total=len(tasks), unit="subnets")
    open_tasks = [task for task in tasks if task.key not in log.rows]
    progress.skip(len(tasks) - len(open_tasks))
    workers = 1 if evaluator.device == "cuda" else usable_cores() // torch.get_num_threads()
    pool = ThreadPoolExecutor(max(1, workers), "subnet")
    try:
        measured = {
            pool.submit(evaluator.evaluate, task.arch, calibration_draw=task.calibration_draw): task
            for task in open_tasks
        }
        for future in as_completed(measured):
            log.note(measured[future], future.result())
            context.stopwatch.note()
            progress.advance()
    finally:
        pool.shutdown(cancel_futures=True)


def evaluator_of(
    supernet: Supernet, dataset: Dataset, evaluation: EvaluationParams
) -> SubnetEvaluator:
    """Return an evaluator on selection images, as every stage compares subnets."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return SubnetEvaluator(
        supernet=supernet.to(device),
        calibration=dataset.split("calibration"),
        evaluation=dataset.split("selection"),
        normalization=dataset.normalization,
        batch_size=evaluation.batch_size,
        calibration_images=evaluation.calibration_images,
        device=device,
    )


def plan_tasks(archs: Sequence[Arch], *, num_repeats: int) -> list[Task]:
    """List every architecture with draw 0, then some of them with further draws.

    Args:
        archs: The design, ascending by size.
        num_repeats: Draws of the subnets that show the noise, draw 0 included.
    """
    picks = np.linspace(0, len(archs) - 1, min(NUM_NOISE_SUBNETS, len(archs))).round()
    repeats = [
        Task(arch=archs[int(index)], calibration_draw=draw)
        for index in picks
        for draw in range(1, num_repeats)
    ]
    return [*(Task(arch=arch, calibration_draw=0) for arch in archs), *repeats]


class MeasurementLog(ResumeLog):
    """What was measured so far; a kill loses at most the measurements that it cuts off."""

    def note(self, task: Task, measured: SubnetAccuracy) -> None:
        """Note a measurement."""
        row = {"accuracy_top1": measured.accuracy_top1, "num_images": measured.num_images}
        self.append(task.key, row)


def label_noise(tasks: Sequence[Task], rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the standard deviation of a label, from repeats and from the number of images.

    ``calibration_std`` is pooled over the subnets with several draws: how much of a difference
    between two subnets may be the calibration images. ``sampling_std`` is binomial: how much all
    accuracies together may be off, since every subnet sees the same selection images.
    """
    groups: dict[str, list[float]] = {}
    for task, row in zip(tasks, rows, strict=True):
        groups.setdefault(task.arch.arch_id, []).append(row["accuracy_top1"])
    repeated = [np.array(values) for values in groups.values() if len(values) > 1]
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in repeated)
    freedom = sum(len(values) - 1 for values in repeated)
    mean = float(np.mean([row["accuracy_top1"] for row in rows]))
    return {
        "calibration_std": (squares / freedom) ** 0.5,
        "sampling_std": (mean * (1 - mean) / rows[0]["num_images"]) ** 0.5,
        "num_repeated_subnets": len(repeated),
        "num_draws": max(len(values) for values in repeated),
    }


def _columns(
    space: SearchSpace,
    tasks: Sequence[Task],
    rows: Sequence[dict[str, Any]],
    *,
    num_classes: int,
) -> dict[str, Any]:
    archs = [task.arch for task in tasks]
    cost = estimate_cost(space, space.genes(archs), num_classes=num_classes)
    return {
        **arch_columns(archs, macs=cost.macs, num_params=cost.num_params),
        "accuracy_top1": [row["accuracy_top1"] for row in rows],
        "num_images": [row["num_images"] for row in rows],
        "calibration_draw": [task.calibration_draw for task in tasks],
    }
