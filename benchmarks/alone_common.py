"""One architecture trained alone, its answers, and the noise of a difference: shared by benchmarks.

Alone means from random weights and on the labels, without a supernet or a teacher, with the recipe
of ``params.yaml``: learning rate and warm-up of the first phase, then one whole cosine.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from ofa_pipeline.arch import Arch
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.compute import compute_device
from ofa_pipeline.data import Dataset
from ofa_pipeline.evaluation import SubnetEvaluator, evaluator_of, predict
from ofa_pipeline.params import Params
from ofa_pipeline.supernet import Subnet, Supernet, build_subnet, fold_batch_norm
from ofa_pipeline.tables import HISTORY_SCHEMA, read_table
from ofa_pipeline.training import Schedule, TrainingImages, deterministic, finetune, recipe_of

Answers = np.ndarray[tuple[int], np.dtype[np.bool_]]
"""Whether each image is answered right, shape (N,), in the order of the split."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alone:
    """A subnet that was trained alone, and the seconds that it took."""

    subnet: Subnet
    """Not calibrated yet."""
    cpu_s: float
    """CPU seconds of this process, over all threads."""
    wall_s: float


def train_alone(arch: Arch, *, dataset: Dataset, params: Params, epochs: int, seed: int) -> Alone:
    """Train an architecture from random weights, without a teacher.

    Args:
        arch: Of the space of params.yaml; trained at its own resolution.
        dataset: Its training images are trained on.
        params: The recipe is in ``training``, the learning rate and warm-up in the first phase.
        epochs: Passes over the images, warm-up included; more than the warm-up.
        seed: Of the weights, and of everything drawn.

    Raises:
        NotEnoughBatchesError: If there are fewer training images than one batch.
        TrainingDivergedError: If the loss is not finite.
    """
    first = next(iter(params.phases.values()))
    schedule = Schedule(
        epochs=epochs - first.warmup_epochs,
        warmup_epochs=first.warmup_epochs,
        learning_rate=params.training.scaled_rate(first.learning_rate),
    )
    subnet = build_subnet(
        params.space.build(),
        arch,
        num_classes=dataset.num_classes,
        dropout=params.training.dropout,
        seed=seed,
    ).to(compute_device())
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    with deterministic(threads=params.training.threads):
        trained = finetune(
            subnet,
            None,
            schedule=schedule,
            images=TrainingImages(
                split=dataset.split("train"), normalization=dataset.normalization
            ),
            recipe=replace(recipe_of(params.training), seed=seed),
        )
    return Alone(
        subnet=trained, cpu_s=time.process_time() - cpu_s, wall_s=time.perf_counter() - wall_s
    )


def total_epochs(layout: Layout, params: Params) -> int:
    """Return the passes over the images that the supernet was trained for, in all phases together.

    They are read from what was trained: params.yaml does not tell how many epochs ``min_steps``
    has made.
    """
    histories = [layout.supernet_history(name) for name in params.phases]
    return sum(read_table(path, HISTORY_SCHEMA).num_rows for path in histories)


def evaluator_on_test(supernet: Supernet, *, dataset: Dataset, params: Params) -> SubnetEvaluator:
    """Return what calibrates as every stage does, and evaluates on all test images."""
    return evaluator_of(
        supernet,
        dataset,
        calibration_images=params.evaluation.calibration_images,
        batch_size=params.evaluation.batch_size,
        split="test",
    )


def answers(subnet: Subnet, evaluator: SubnetEvaluator) -> Answers:
    """Return which images of the evaluator a subnet gets right, after calibration."""
    network = fold_batch_norm(evaluator.calibrate(subnet)).to(memory_format=torch.channels_last)
    correct: Answers = predict(network, evaluator.images(subnet.arch.resolution_px)).correct.numpy()
    return correct


def paired_standard_error(first: Answers, second: Answers) -> float:
    """Return the standard error of a difference of two accuracies on the same images, a fraction.

    Only images that one of the two gets right tell them apart: the variance of the difference of
    two dependent proportions is at most their number over N squared (McNemar 1947).
    """
    return float((first != second).sum()) ** 0.5 / len(first)
