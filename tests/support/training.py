"""A tiny space, images in memory, and what the training loop needs around them."""

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.data import Batch, Normalization, Split
from ofa_pipeline.spaces import mobilenet_v3_small_images
from ofa_pipeline.training import Phase, Recipe, Sampled, Schedule, TrainingImages

NORMALIZATION = Normalization(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
NUM_CLASSES = 3


def tiny_space() -> SearchSpace:
    """Return a space with every kind of choice, small enough for a step of milliseconds."""
    return mobilenet_v3_small_images(
        stem_stride=2,
        stem_channels=8,
        group_channels=[8, 16],
        group_strides=[1, 2],
        head_channels=(16, 16),
        resolutions_px=(8, 12),
        depths=(1, 2),
        kernel_sizes=(3, 5),
        expand_ratios=(2.0, 3.0),
    )


class MemorySplit:
    """Images in memory, with the methods of `ofa_pipeline.data.Split`."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        """Hold uint8 images (N, 3, H, H) and labels (N,)."""
        self._images = images
        self.labels = labels

    @property
    def num_images(self) -> int:
        """Number of images."""
        return len(self.labels)

    def images(self) -> Tensor:
        """Return all images."""
        return self._images

    def batches(self, batch_size: int, *, order: Sequence[int] | None = None) -> Iterator[Batch]:
        """Yield images in stored order, or in a given one."""
        ids = torch.arange(self.num_images) if order is None else torch.tensor(list(order))
        for chosen in torch.split(ids, batch_size):
            yield Batch(self._images[chosen], self.labels[chosen], chosen)

    def shuffled_batches(
        self,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        start_batch: int = 0,
        rows: slice = slice(None),
    ) -> Iterator[Batch]:
        """Yield whole batches, or some rows of each, in an order of the seed and the epoch."""
        order = np.random.default_rng([seed, epoch]).permutation(self.num_images)
        for start in range(start_batch * batch_size, self.num_images - batch_size + 1, batch_size):
            chosen = torch.from_numpy(order[start : start + batch_size][rows])
            yield Batch(self._images[chosen], self.labels[chosen], chosen)


def striped_images(count: int, *, side_px: int = 12, seed: int = 0) -> Split:
    """Return images whose class is the channel that is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(NUM_CLASSES, (count,), generator=generator)
    images = torch.randint(0, 120, (count, 3, side_px, side_px), generator=generator)
    images[torch.arange(count), labels] += 100
    return cast("Split", MemorySplit(images.to(torch.uint8), labels))


def training_images(count: int = 32) -> TrainingImages:
    """Return images to train on."""
    return TrainingImages(split=striped_images(count), normalization=NORMALIZATION)


def tiny_recipe(batch_size: int = 8) -> Recipe:
    """Return a recipe for `striped_images`."""
    return Recipe(
        batch_size=batch_size,
        momentum=0.9,
        weight_decay=1e-4,
        label_smoothing=0.1,
        distillation_weight=1.0,
        augmentation="crop_flip",
        seed=0,
    )


def tiny_phase(*, epochs: int = 2, learning_rate: float = 0.05, per_step: int = 2) -> Phase:
    """Return a phase in which everything is elastic."""
    return Phase(
        name="tiny",
        archs=Sampled(space=tiny_space(), per_step=per_step),
        schedule=Schedule(epochs=epochs, warmup_epochs=0, learning_rate=learning_rate),
    )
