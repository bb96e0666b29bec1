"""What the measurements on a CUDA device share: images, spaces, recipes, and steps to time.

It needs torch, numpy, pyarrow, pillow and safetensors alone.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image

import ofa_pipeline.data
from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.data import Batch, Normalization, near_device
from ofa_pipeline.spaces import mobilenet_v3_small_images
from ofa_pipeline.supernet import Supernet, build_supernet
from ofa_pipeline.training import (
    Phase,
    Recipe,
    Sampled,
    Schedule,
    Teacher,
    TrainingImages,
    build_teaching,
)
from ofa_pipeline.training.optimizer import build_optimizer, set_learning_rate
from ofa_pipeline.training.step import TrainingStep

NORMALIZATION = Normalization(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
NUM_CLASSES = 10
BATCH = 64


class NeedsCudaError(Exception):
    """The check means nothing without a CUDA device."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found."""

    is_passed: bool
    figures: dict[str, Any]


class MemorySplit:
    """Images in memory, with the methods of `ofa_pipeline.data.Split` that training uses."""

    fits_memory = True

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Hold uint8 images (N, 3, H, H) and labels (N,)."""
        self._images, self.labels = images, labels

    @property
    def num_images(self) -> int:
        """Number of images of an epoch."""
        return len(self.labels)

    def images(self) -> torch.Tensor:
        """Return all images."""
        return self._images

    def batches(self, batch_size: int, *, order: Sequence[int] | None = None) -> Iterator[Batch]:
        """Yield images in stored order, or in a given one."""
        ids = torch.arange(len(self.labels)) if order is None else torch.tensor(list(order))
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
        for ids in self.shuffled_ids(
            batch_size, seed=seed, epoch=epoch, start_batch=start_batch, rows=rows
        ):
            chosen = torch.from_numpy(ids)
            yield Batch(self._images[chosen], self.labels[chosen], chosen)

    def shuffled_ids(
        self,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        start_batch: int = 0,
        rows: slice = slice(None),
    ) -> list[NDArray[np.int64]]:
        """Return the positions of each batch's images."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self.labels))
        starts = range(start_batch * batch_size, self.num_images - batch_size + 1, batch_size)
        return [order[start : start + batch_size][rows] for start in starts]


def cuda() -> torch.device:
    """Return the device.

    Raises:
        NeedsCudaError: If there is none.
    """
    if not torch.cuda.is_available():
        raise NeedsCudaError("no CUDA device")
    return torch.device("cuda")


def small_space() -> SearchSpace:
    """Return the space of the shipped params, for images of 32 px."""
    return mobilenet_v3_small_images(
        stem_stride=1,
        stem_channels=16,
        group_channels=[16, 24, 40],
        group_strides=[2, 2, 2],
        head_channels=(96, 128),
        resolutions_px=(20, 24, 28, 32),
        depths=(1, 2, 3),
        kernel_sizes=(3, 5, 7),
        expand_ratios=(2.0, 3.0, 4.0),
    )


def random_images(count: int, side_px: int) -> TrainingImages:
    """Return images of noise."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, 3, side_px, side_px)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(NUM_CLASSES, (count,), generator=generator)
    return training_images(images, labels)


def training_images(images: torch.Tensor, labels: torch.Tensor) -> TrainingImages:
    """Return images to train on."""
    split: Any = MemorySplit(images, labels)
    return TrainingImages(split=split, normalization=NORMALIZATION)


def recipe(*, batch_size: int = BATCH) -> Recipe:
    """Return the recipe of the shipped params."""
    return Recipe(
        batch_size=batch_size,
        momentum=0.9,
        weight_decay=1e-4,
        label_smoothing=0.1,
        distillation_weight=1.0,
        augmentation="crop_flip",
        seed=0,
        batch_norm_images=32,
    )


def sandwich(space: SearchSpace, *, per_step: int = 3, epochs: int = 1) -> Phase:
    """Return a phase as the last of the shipped params."""
    return Phase(
        name="elastic",
        archs=Sampled(space=space, per_step=per_step, sampling="sandwich"),
        schedule=Schedule(epochs=epochs, warmup_epochs=0, learning_rate=0.1),
        first_share=0.5,
        teaching=build_teaching("in_place"),
    )


@contextmanager
def exact() -> Iterator[None]:
    """Compute in the precision of the weights while the body runs: no bfloat16, no TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with ExitStack() as stack:
            for module in ("ofa_pipeline.training.precision", "ofa_pipeline.training.step"):
                stack.enter_context(patch(f"{module}.mixes_precision", lambda _: False))
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def unrecorded() -> Iterator[None]:
    """Launch every kernel by itself, of sliced subnets, while the body runs."""
    with patch("ofa_pipeline.training.step.records_graphs", lambda _: False):
        yield


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the norm of the difference over the norm of what is expected."""
    difference = found.double().cpu() - expected.double().cpu()
    return float(difference.norm() / expected.double().cpu().norm())


@contextmanager
def stepping(
    supernet: Supernet,
    phase: Phase,
    *,
    side_px: int,
    batch: int,
    device: torch.device,
    teacher: Teacher | None = None,
) -> Iterator[Callable[[], torch.Tensor]]:
    """Yield a function that makes one update as the training loop does, and returns the loss."""
    supernet.to(device, memory_format=torch.channels_last)
    images = random_images(4 * batch, side_px)
    optimizer = build_optimizer(supernet, momentum=0.9, weight_decay=1e-4)
    set_learning_rate(optimizer, 0.01)
    number = 0
    split = near_device(images.split, device)
    batches = list(split.shuffled_batches(batch, seed=0, epoch=0))
    common = recipe(batch_size=batch)
    with TrainingStep(supernet, phase, images=images, recipe=common, teacher=teacher) as step:

        def update() -> torch.Tensor:
            nonlocal number
            loss = step.accumulate_gradients(batches[number % len(batches)], number)
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
            number += 1
            return loss

        yield update


def small_steps(
    device: torch.device, *, batch: int, per_step: int
) -> AbstractContextManager[Callable[[], torch.Tensor]]:
    """Return updates of the space of the shipped params at 32 px."""
    space = small_space()
    supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=0.1, seed=0)
    phase = sandwich(space, per_step=per_step)
    return stepping(supernet, phase, side_px=32, batch=batch, device=device)


def shipped_images() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images (N, 3, 28, 28) and labels that come with the package."""
    folder = Path(ofa_pipeline.data.__file__).parent
    table = pq.read_table(folder / "fashion_mnist_sample.parquet")
    pictures = [
        np.asarray(Image.open(BytesIO(value["bytes"])).convert("RGB"))
        for value in table["image"].to_pylist()
    ]
    order = np.random.default_rng(0).permutation(len(pictures))
    images = torch.from_numpy(np.stack(pictures)[order]).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(table["label"].to_pylist())[order]


def waits(update: Callable[[], object], *, steps: int) -> dict[str, Any]:
    """Return what waits for the device in some steps: how often a step, and where."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(steps):
                update()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    found = [w for w in caught if "synchronizing" in str(w.message)]
    places = {f"{Path(w.filename).name}:{w.lineno}" for w in found}
    return {"a_step": len(found) / steps, "places": sorted(places)}
