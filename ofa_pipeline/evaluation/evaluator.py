"""Accuracy of many subnets of one supernet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ofa_pipeline.arch import Arch
from ofa_pipeline.compute import ALONE, Ranks
from ofa_pipeline.data import Normalization, Split
from ofa_pipeline.evaluation.accuracy import Predictions, predict
from ofa_pipeline.evaluation.calibration import (
    SharedBatches,
    calibrate_batch_norm,
    joint_batches,
)
from ofa_pipeline.evaluation.images import ResizedImages
from ofa_pipeline.supernet import Subnet, Supernet, extract_subnet, fold_batch_norm


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SubnetAccuracy:
    """The measured accuracy of one subnet."""

    arch: Arch
    accuracy_top1: float
    """Fraction in [0, 1]."""
    accuracy_top5: float
    num_images: int
    correct: NDArray[np.bool_]
    """Whether each image is right, in split order: subnets can be compared image by image."""


@dataclass(kw_only=True)
class SubnetEvaluator:
    """Extracts, calibrates, folds and evaluates subnets; the images stay in memory.

    The supernet is read anew for each subnet and never written to, so it may be trained on in
    between, and evaluations cannot interfere: several threads may evaluate at the same time.
    """

    supernet: Supernet
    calibration: Split
    """Batch-norm statistics come from these; disjoint from `evaluation`."""
    evaluation: Split
    normalization: Normalization
    batch_size: int
    """Images a forward pass."""
    calibration_images: int
    """At most all of the calibration split."""
    evaluation_images: int | None = None
    """The first ones of the split; all of them when left out."""
    device: str = "cpu"
    ranks: Ranks = ALONE
    """Processes that share the images of each evaluation: all of them ask for the same subnets at
    the same time, and get the same answer."""
    _calibration: dict[tuple[int, int, int], ResizedImages] = field(
        default_factory=dict, init=False, repr=False
    )
    _evaluation: ResizedImages = field(init=False, repr=False)
    _part: slice | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Choose the images of the evaluation."""
        indices = None
        if self.evaluation_images is not None or self.ranks.size > 1:
            indices = range(self._num_images)
            if 1 < self.ranks.size <= len(indices):  # each has something to do
                self._part = self.ranks.part(len(indices))
                indices = indices[self._part]
        self._evaluation = self._resized(self.evaluation, indices)

    @property
    def _num_images(self) -> int:
        """Images that accuracy is measured on, by all processes."""
        available = self.evaluation.num_images
        wanted = self.evaluation_images
        return available if wanted is None else min(wanted, available)

    def evaluate(self, arch: Arch, *, calibration_draw: int = 0) -> SubnetAccuracy:
        """Measure the accuracy of a subnet.

        Args:
            arch: The subnet.
            calibration_draw: Which draw of calibration images; see `calibration_indices`.
        """
        predictions = self.predictions(arch, calibration_draw=calibration_draw)
        return SubnetAccuracy(
            arch=arch,
            accuracy_top1=predictions.accuracy_top1,
            accuracy_top5=predictions.accuracy_top5,
            num_images=len(predictions.labels),
            correct=predictions.correct.numpy(),
        )

    def predictions(self, arch: Arch, *, calibration_draw: int = 0) -> Predictions:
        """Return the logits of a calibrated subnet for every image."""
        subnet = self.calibrated_subnet(arch, calibration_draw=calibration_draw)
        network = fold_batch_norm(subnet).to(memory_format=torch.channels_last)
        return self._of_all_ranks(predict(network, self.images(arch.resolution_px)))

    def _of_all_ranks(self, own: Predictions) -> Predictions:
        """Put together what each process says of its part of the images."""
        if self._part is None:
            return own
        logits = own.logits.new_zeros(self._num_images, own.logits.shape[1])
        labels = own.labels.new_zeros(self._num_images)
        logits[self._part], labels[self._part] = own.logits, own.labels
        self.ranks.add_up(logits)
        self.ranks.add_up(labels)
        return Predictions(logits=logits, labels=labels)

    def images(self, resolution_px: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images that this process measures accuracy on, resized, with their labels."""
        return self._evaluation.batches(resolution_px)

    def calibrated_subnet(self, arch: Arch, *, calibration_draw: int = 0) -> Subnet:
        """Extract a subnet and give it batch-norm statistics of its own."""
        return self.calibrate(
            extract_subnet(self.supernet, arch), calibration_draw=calibration_draw
        )

    def calibrate(self, subnet: Subnet, *, calibration_draw: int = 0) -> Subnet:
        """Calibrate a subnet from anywhere at its own resolution, for example a fine-tuned one."""
        return self.calibrate_at(subnet, subnet.arch.resolution_px, draw=calibration_draw)

    def calibrate_at(self, subnet: Subnet, resolution_px: int, *, draw: int = 0) -> Subnet:
        """Calibrate a subnet at any resolution."""
        network = subnet.to(self.device).to(memory_format=torch.channels_last)
        size = self.batch_size
        joint = joint_batches(
            self.num_calibration_images, batch_size=size, resolution_px=resolution_px
        )
        if self.ranks.size == 1 or len(joint) <= 1:  # nothing to share
            return calibrate_batch_norm(network, self.calibration_batches(resolution_px, draw=draw))
        own = self.ranks.part(len(joint))
        images = [image for batch in joint[own] for image in batch]
        batches = self._calibration_batches(resolution_px, draw, images) if images else iter(())
        shared = SharedBatches(ranks=self.ranks, own=own, total=len(joint))
        return calibrate_batch_norm(network, batches, shared=shared)

    @property
    def num_calibration_images(self) -> int:
        """Images of a draw of the calibration split."""
        return min(self.calibration_images, self.calibration.num_images)

    def calibration_batches(self, resolution_px: int, *, draw: int = 0) -> Iterator[Tensor]:
        """Yield the calibration images of a draw, resized, shape (N, 3, r, r)."""
        everything = range(self.num_calibration_images)
        return self._calibration_batches(resolution_px, draw, everything)

    def _calibration_batches(
        self, resolution_px: int, draw: int, chosen_images: Sequence[int]
    ) -> Iterator[Tensor]:
        """Yield some of the images of a draw, which are neighbors."""
        indices = calibration_indices(
            self.calibration.num_images, self.calibration_images, draw=draw
        )
        own = [indices[image] for image in chosen_images]
        key = draw, chosen_images[0], chosen_images[-1]
        # Threads that come at the same time keep the images of the one that was first.
        chosen = self._calibration.setdefault(key, self._resized(self.calibration, own))
        for images, _ in chosen.batches(resolution_px):
            yield images

    def _resized(self, split: Split, indices: Sequence[int] | None) -> ResizedImages:
        return ResizedImages(
            split=split,
            normalization=self.normalization,
            batch_size=self.batch_size,
            indices=indices,
            device=self.device,
        )


def calibration_indices(num_available: int, num_wanted: int, *, draw: int) -> list[int]:
    """Choose calibration images.

    Draw 0 is what everything is evaluated with: images without repeats. Every other draw is a
    bootstrap sample of the same size, with repeats: it shows what another calibration set of
    this size could have done, even when draw 0 takes the whole split.

    Args:
        num_available: Size of the calibration split.
        num_wanted: At most this many images.
        draw: Number of the draw.
    """
    count = min(num_wanted, num_available)
    rng = np.random.default_rng(draw)
    if draw == 0:
        return sorted(int(index) for index in rng.permutation(num_available)[:count])
    return sorted(int(index) for index in rng.integers(0, num_available, count))


class CalibratedTeacher:
    """The largest subnet as a teacher: frozen, with statistics for each resolution of its own.

    Called with images of any resolution of its space, it returns logits. A network calibrated
    at one resolution is a worse teacher at another.
    """

    def __init__(self, subnet: Subnet, evaluator: SubnetEvaluator) -> None:
        """Take a subnet whose weights nobody changes, and where to calibrate it."""
        self._subnet = subnet
        self._evaluator = evaluator
        self._networks: dict[int, nn.Module] = {}
        self._lock = Lock()  # training asks from several threads

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits (N, K) for images (N, 3, r, r), without gradients."""
        resolution_px = images.shape[-1]
        with self._lock:
            if resolution_px not in self._networks:
                self._networks[resolution_px] = self._calibrated(resolution_px)
        with torch.no_grad():
            logits: Tensor = self._networks[resolution_px](images)
        return logits

    def _calibrated(self, resolution_px: int) -> nn.Module:
        # A training step may have mixed precision on: statistics are those of whole float32.
        with torch.autocast(torch.device(self._evaluator.device).type, enabled=False):
            calibrated = self._evaluator.calibrate_at(self._subnet, resolution_px)
        return fold_batch_norm(calibrated).to(memory_format=torch.channels_last).eval()
