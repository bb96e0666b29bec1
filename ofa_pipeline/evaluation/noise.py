"""Which accuracies are measured, and how much each of them may be off."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.evaluation.bench import AccuracyTask
from ofa_pipeline.tables import arch_columns

if TYPE_CHECKING:
    from ofa_pipeline.documents import AccuracyNoise

NUM_NOISE_SUBNETS = 5
"""Subnets, spread over the design, whose accuracy is measured with further calibration draws."""


def plan_accuracy_tasks(archs: Sequence[Arch], *, num_repeats: int) -> list[AccuracyTask]:
    """List every architecture with draw 0, then some of them with further draws.

    Args:
        archs: The design, ascending by size.
        num_repeats: Draws of the subnets that show the noise, draw 0 included.
    """
    picks = np.linspace(0, len(archs) - 1, min(NUM_NOISE_SUBNETS, len(archs))).round()
    repeats = [
        AccuracyTask(arch=archs[int(index)], calibration_draw=draw)
        for index in picks
        for draw in range(1, num_repeats)
    ]
    return [*(AccuracyTask(arch=arch) for arch in archs), *repeats]


def label_noise(
    tasks: Sequence[AccuracyTask], rows: Sequence[Mapping[str, Any]]
) -> "AccuracyNoise":
    """Return the standard deviation of a label, from repeats and from the number of images."""
    # Evaluation runs where pydantic is missing, as training does.
    from ofa_pipeline.documents import AccuracyNoise

    groups: dict[str, list[float]] = {}
    for task, row in zip(tasks, rows, strict=True):
        groups.setdefault(task.arch.arch_id, []).append(row["accuracy_top1"])
    repeated = [np.array(values) for values in groups.values() if len(values) > 1]
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in repeated)
    freedom = sum(len(values) - 1 for values in repeated)
    mean = float(np.mean([row["accuracy_top1"] for row in rows]))
    return AccuracyNoise(
        calibration_std=(squares / freedom) ** 0.5,
        sampling_std=(mean * (1 - mean) / rows[0]["num_images"]) ** 0.5,
        num_repeated_subnets=len(repeated),
        num_draws=max(len(values) for values in repeated),
    )


def accuracy_columns(
    space: SearchSpace,
    tasks: Sequence[AccuracyTask],
    rows: Sequence[Mapping[str, Any]],
    *,
    num_classes: int,
) -> dict[str, Any]:
    """Return the columns of `ofa_pipeline.tables.ACCURACY_SCHEMA`, one row a task."""
    archs = [task.arch for task in tasks]
    cost = estimate_cost(space, space.genes(archs), num_classes=num_classes)
    return {
        **arch_columns(archs, macs=cost.macs, num_params=cost.num_params),
        "accuracy_top1": [row["accuracy_top1"] for row in rows],
        "num_images": [row["num_images"] for row in rows],
        "calibration_draw": [task.calibration_draw for task in tasks],
    }
