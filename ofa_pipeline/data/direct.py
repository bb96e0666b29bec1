"""Images of any source, decoded as they are asked for: for evaluation without preparation."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.cores import usable_cores
from ofa_pipeline.data.dataset import Batch
from ofa_pipeline.data.decode import ValueRange, square_pixels
from ofa_pipeline.data.sources import SourceImage, open_source
from ofa_pipeline.data.splits import SplitName
from ofa_pipeline.errors import DatasetError

IMAGES_A_TASK = 8
TASKS_AHEAD_A_THREAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How the files of a source are read."""

    as_stored: bool = False
    """As `ofa_pipeline.data.decode.decode_stored` does for a prepared dataset."""
    value_range: ValueRange | None = None
    """Values of deep images that become 0 and 255."""


IMAGENET = Decoding()
"""Whole images, as the reference evaluates."""


class SourceImages:
    """The images of a source, or of one of its own splits, in the order of the source.

    Nothing is written or kept. An image that cannot be read stops the evaluation: a figure on
    fewer images than asked for would be another figure.
    """

    def __init__(
        self,
        spec: str,
        *,
        base: Path,
        image_size_px: int,
        split: SplitName | None = None,
        every: int = 1,
        decoding: Decoding = IMAGENET,
    ) -> None:
        """Look through the source, without decoding an image.

        Args:
            spec: As `ofa_pipeline.data.sources.open_source` takes it.
            base: What a relative path starts from.
            image_size_px: Images become squares of this side: the shorter side resized, the
                middle cut out. ``ceil(r / 0.875)`` gives exactly the pixels of the reference's
                evaluation at r from 112 on.
            split: ``test`` or ``selection`` for that split of the source, ``train`` for what is
                in neither; None for all images.
            every: Take one image in so many, from the first on: a sample of all classes where
                the source is ordered by class.
            decoding: How image files are read.

        Raises:
            DatasetError: If the source cannot be used, or has no such split.
        """
        self._source = open_source(spec, base=base)
        self._image_size_px = image_size_px
        self._split = split
        self._every = every
        self._decoding = decoding
        known = {"train", *self._source.fixed_splits}
        if split is not None and split not in known:
            raise DatasetError(
                f"{spec} must have a {split} split of its own, it has {', '.join(sorted(known))}"
            )
        self.class_names = self._source.class_names
        self.fixed_splits = self._source.fixed_splits
        self.num_images = self._source.num_images
        if every > 1 or (split is not None and self._source.fixed_splits):
            self.num_images = sum(1 for _ in self._chosen())

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all images; the last batch may be smaller.

        Args:
            batch_size: Images a batch.

        Raises:
            DatasetError: If an image cannot be read; the message names it.
        """
        pixels: list[NDArray[np.uint8]] = []
        labels: list[int] = []
        first = 0
        for image, label in self._decoded():
            pixels.append(image)
            labels.append(label)
            if len(labels) == batch_size:
                yield _batch(pixels, labels, first)
                first += len(labels)
                pixels, labels = [], []
        if labels:
            yield _batch(pixels, labels, first)

    def _chosen(self) -> Iterator[SourceImage]:
        of_split = (
            image
            for image in self._source.images()
            if self._split is None or (image.split or "train") == self._split
        )
        yield from islice(of_split, None, None, self._every)

    def _decoded(self) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Decode on all cores, in order, with a bounded number in flight."""
        num_threads = usable_cores()
        images = self._chosen()
        pending: deque[tuple[list[SourceImage], Future[list[NDArray[np.uint8]]]]] = deque()
        pool = ThreadPoolExecutor(num_threads, thread_name_prefix="decode")
        try:
            while True:
                task = list(islice(images, IMAGES_A_TASK))
                if task:
                    pending.append((task, pool.submit(self._decode_task, task)))
                if not pending:
                    return
                if not task or len(pending) > TASKS_AHEAD_A_THREAD * num_threads:
                    done, future = pending.popleft()
                    labels = [image.label for image in done]
                    yield from zip(future.result(), labels, strict=True)
        finally:
            pool.shutdown(cancel_futures=True)

    def _decode_task(self, images: list[SourceImage]) -> list[NDArray[np.uint8]]:
        return [_square(image, self._image_size_px, self._decoding) for image in images]


def _square(image: SourceImage, side_px: int, decoding: Decoding) -> NDArray[np.uint8]:
    try:
        return square_pixels(
            image.read(),
            side_px,
            value_range=decoding.value_range,
            as_stored=decoding.as_stored,
        )
    except DatasetError as error:
        raise DatasetError(f"{image.path}: {error}") from error
    except OSError as error:
        raise DatasetError(f"{image.path} cannot be read: {error.strerror or error}") from error


def _batch(pixels: list[NDArray[np.uint8]], labels: list[int], first: int) -> Batch:
    import torch

    images = np.stack(pixels).transpose(0, 3, 1, 2)
    return Batch(
        images=torch.from_numpy(np.ascontiguousarray(images)),
        labels=torch.tensor(labels, dtype=torch.int64),
        ids=torch.arange(first, first + len(labels)),
    )
