"""A prepared dataset: its classes, its statistics, and its splits as batches of pixels.

A split that fits its memory limit is decoded once and kept; a larger one is streamed from the
row groups of its shards. Both give the same batches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.data import lanes
from ofa_pipeline.data.loading import REMEMBERED_ROW_GROUPS, PrefetchingLoader
from ofa_pipeline.data.normalization import Normalization
from ofa_pipeline.data.shards import RowGroupReader, ShardIndex
from ofa_pipeline.data.splits import SPLIT_NAMES
from ofa_pipeline.data.uncropped import are_squares, size_of
from ofa_pipeline.errors import DatasetError, suggest

if TYPE_CHECKING:
    from torch import Tensor

REMAKE = "ofa-pipeline stage prepare_dataset"
DEFAULT_MEMORY_LIMIT_BYTES = 1 << 30
SHUFFLE_WINDOW_ROWS = 4096
"""Images that are shuffled with each other: as many files' worth is held when streaming.

The rows of a shard lie in random order already, so a window is a random sample of the split.
"""
ALL_ROWS = slice(None)
ROWS_A_LOAD = 1024
"""Images that are decoded together when a split is read into memory."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some images of a split, at their stored size."""

    images: "Tensor"
    """uint8, shape (N, 3, H, H)."""
    labels: "Tensor"
    """int64, shape (N,)."""
    ids: "Tensor"
    """Positions in the split, int64, shape (N,)."""
    sizes: "Tensor | None" = None
    """Rows and columns of each image that are its own, from the first on: int64, shape (N, 2);
    for uncropped images, which lie on canvases (N, 3, H, W); None: all of them."""


class Split:
    """The images of one split."""

    def __init__(
        self,
        index: ShardIndex,
        *,
        image_size_px: int,
        memory_limit_bytes: int,
        is_uncropped: bool = False,
        lanes_from: int | None = None,
    ) -> None:
        """Read no image yet.

        Args:
            index: Where the rows lie.
            image_size_px: Side of the decoded images.
            memory_limit_bytes: Decoded images are kept when they need no more than this.
            is_uncropped: Whether batches hold all of each image; these are streamed always.
            lanes_from: Images from which on the split is read in lanes; None: `lanes.MIN_ROWS`.
        """
        self._index = index
        self._image_size_px = image_size_px
        self._memory_limit_bytes = memory_limit_bytes
        self._is_uncropped = is_uncropped
        self._lanes_from = lanes_from

    @property
    def num_images(self) -> int:
        """Number of images."""
        return self._index.num_rows

    @cached_property
    def labels(self) -> "Tensor":
        """Class index of each image, int64, shape (N,)."""
        import torch

        return torch.from_numpy(self._index.read_labels())

    @property
    def fits_memory(self) -> bool:
        """Whether all decoded images fit the memory limit together."""
        needed = self.num_images * 3 * self._image_size_px**2
        return not self._is_uncropped and needed <= self._memory_limit_bytes

    @property
    def is_uncropped(self) -> bool:
        """Whether batches hold all of each image, on canvases."""
        return self._is_uncropped

    def uncropped(self) -> "Split":
        """Return the split with all of each image, ends included; itself where all are squares.

        What fits the memory limit is looked through; of what is streamed anyway, nothing is read.
        """
        if self._is_uncropped or (self.fits_memory and self._has_squares):
            return self
        return Split(
            self._index,
            image_size_px=self._image_size_px,
            memory_limit_bytes=self._memory_limit_bytes,
            is_uncropped=True,
            lanes_from=self._lanes_from,
        )

    def stored_sizes(self, count: int) -> list[tuple[int, int]]:
        """Return width and height of some stored images: the first, which lie in random order."""
        reader = RowGroupReader(self._index, remembered_row_groups=1)
        try:
            return [size_of(c) for c in reader.read(np.arange(min(count, self.num_images)))]
        finally:
            reader.close()

    @cached_property
    def _has_squares(self) -> bool:
        """Return whether every image is stored as a square of the split's size."""
        reader = RowGroupReader(self._index, remembered_row_groups=1)
        try:
            chunks = _chunks(np.arange(self.num_images), ROWS_A_LOAD)
            return all(are_squares(reader.read(ids), self._image_size_px) for ids in chunks)
        finally:
            reader.close()

    def images(self) -> "Tensor":
        """Return all images: uint8, shape (N, 3, H, H); decoded once and kept.

        Raises:
            DatasetError: If they do not fit the memory limit; use `batches`.
        """
        if not self.fits_memory:
            needed = self.num_images * 3 * self._image_size_px**2
            raise DatasetError(
                f"all images of {self._index.name} together must fit "
                f"{self._memory_limit_bytes:,} bytes, they need {needed:,}. "
                "Use batches(), or raise memory_limit_bytes"
            )
        return self._all_images

    @cached_property
    def _all_images(self) -> "Tensor":
        import torch

        side = self._image_size_px
        images = torch.empty(self.num_images, 3, side, side, dtype=torch.uint8)
        chunks = _chunks(np.arange(self.num_images), ROWS_A_LOAD)
        with PrefetchingLoader(self._index, side) as loader:
            for ids, pictures in zip(chunks, loader.load(chunks), strict=True):
                images[ids[0] : ids[-1] + 1] = pictures.pixels
        return images

    def batches(self, batch_size: int, *, order: Sequence[int] | None = None) -> Iterator[Batch]:
        """Yield images in stored order, or in a given one; the last batch may be smaller.

        Args:
            batch_size: Images a batch.
            order: Positions in the split, each as often as wanted. Streaming is fast where
                neighbours in the order lie near each other in the split.

        Raises:
            DatasetError: If a position is outside the split.
        """
        ids = np.arange(self.num_images) if order is None else np.asarray(order, dtype=np.int64)
        if ids.size and (ids.min() < 0 or ids.max() >= self.num_images):
            raise DatasetError(
                f"order must hold positions of {self._index.name}, 0 to {self.num_images - 1}, "
                f"got {ids.min()} to {ids.max()}"
            )
        return self._iterate(_chunks(ids, batch_size))

    def shuffled_batches(
        self,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        start_batch: int = 0,
        drop_last: bool = True,
        rows: slice = ALL_ROWS,
    ) -> Iterator[Batch]:
        """Yield all images in an order that depends on seed and epoch alone.

        The arguments are those of `shuffled_ids`; only the images of the rows that are wanted are
        decoded.

        Raises:
            DatasetError: If there is not even one batch.
        """
        return self._iterate(
            self.shuffled_ids(
                batch_size,
                seed=seed,
                epoch=epoch,
                start_batch=start_batch,
                drop_last=drop_last,
                rows=rows,
            )
        )

    def shuffled_ids(
        self,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        start_batch: int = 0,
        drop_last: bool = True,
        rows: slice = ALL_ROWS,
    ) -> list[NDArray[np.int64]]:
        """Return the positions of each batch's images in the split, in the order of an epoch.

        Args:
            batch_size: Images a batch.
            seed: Seed of the order.
            epoch: Another epoch, another order.
            start_batch: Begin with this batch, as if those before it had been taken.
            drop_last: Leave out a last batch that is smaller than the others.
            rows: Images of each batch that are wanted.

        Raises:
            DatasetError: If there is not even one batch.
        """
        if drop_last and self.num_images < batch_size:
            raise DatasetError(
                f"{self._index.name} must hold at least one batch of {batch_size} images, it has "
                f"{self.num_images}. Lower the batch size or add images"
            )
        chunks = _chunks(
            self.epoch_order(seed=seed, epoch=epoch, batch_size=batch_size), batch_size
        )
        last = self.num_batches(batch_size, drop_last=drop_last)
        return [ids[rows] for ids in chunks[start_batch:last]]

    def num_batches(self, batch_size: int, *, drop_last: bool = True) -> int:
        """Return how many batches `shuffled_batches` yields from the start."""
        whole, rest = divmod(self.num_images, batch_size)
        return whole if drop_last or not rest else whole + 1

    @property
    def has_lanes(self) -> bool:
        """Whether each place in a batch is fed from row groups of its own; see `lanes`."""
        return self.num_images >= (lanes.MIN_ROWS if self._lanes_from is None else self._lanes_from)

    def epoch_order(self, *, seed: int, epoch: int, batch_size: int) -> NDArray[np.int64]:
        """Return the positions in the order of an epoch, shape (N,).

        Row groups are shuffled, and the rows of neighbouring row groups among each other, so
        that streaming reads each row group once. Large splits are read in lanes, so that this
        also holds for several processes that take some places of each batch: each row group is
        then read by one of them.

        Args:
            seed: Seed of the order.
            epoch: Another epoch, another order.
            batch_size: Images a batch; it matters to lanes alone.
        """
        generator = np.random.default_rng([seed, epoch])
        starts = self._index.row_starts
        groups = generator.permutation(len(starts) - 1)
        spans = [np.arange(starts[group], starts[group + 1]) for group in groups]
        ids = np.concatenate(spans) if spans else np.arange(0)
        if self.has_lanes:
            return lanes.lane_order(spans, generator, batch_size=batch_size)
        windows = _chunks(ids, SHUFFLE_WINDOW_ROWS)
        shuffled = [generator.permutation(window) for window in windows]
        return np.concatenate(shuffled) if shuffled else ids

    def _iterate(self, chunks: list[NDArray[np.int64]]) -> Iterator[Batch]:
        import torch

        if self.fits_memory:
            images = self._all_images.numpy()  # numpy copies rows without waking a thread pool
            for ids in chunks:
                chosen = torch.from_numpy(ids)
                yield Batch(torch.from_numpy(images[ids]), self.labels[chosen], chosen)
            return
        remembered = lanes.REMEMBERED_ROW_GROUPS if self.has_lanes else REMEMBERED_ROW_GROUPS
        with PrefetchingLoader(
            self._index,
            self._image_size_px,
            is_uncropped=self._is_uncropped,
            remembered_row_groups=remembered,
        ) as loader:
            for ids, pictures in zip(chunks, loader.load(chunks), strict=True):
                chosen = torch.from_numpy(ids)
                yield Batch(pictures.pixels, self.labels[chosen], chosen, pictures.sizes)


@dataclass(frozen=True)
class Dataset:
    """What `prepare_dataset` wrote."""

    folder: Path
    class_names: tuple[str, ...]
    normalization: Normalization
    """Statistics of the training pixels."""
    image_size_px: int
    """Side of the decoded images."""
    memory_limit_bytes: int
    value_range: tuple[float, float] | None = None
    """Values of deep images that became 0 and 255, where `dataset.value_range` says so."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @cached_property
    def num_images(self) -> dict[str, int]:
        """Number of images of each split."""
        return {name: self.split(name).num_images for name in SPLIT_NAMES}

    @cached_property
    def _splits(self) -> dict[str, Split]:
        return {
            name: Split(
                ShardIndex.open(self.folder, name),
                image_size_px=self.image_size_px,
                memory_limit_bytes=self.memory_limit_bytes,
            )
            for name in SPLIT_NAMES
        }

    def split(self, name: str) -> Split:
        """Return a split; the same object, with what it has decoded, each time.

        Raises:
            DatasetError: If there is no such split.
        """
        if name not in SPLIT_NAMES:
            raise DatasetError(f"unknown split {name!r}.{suggest(name, SPLIT_NAMES)}")
        return self._splits[name]


def open_dataset(folder: Path, *, memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES) -> Dataset:
    """Open a prepared dataset.

    Args:
        folder: The artifact.
        memory_limit_bytes: Limit of the decoded images of each split; larger splits are streamed.

    Raises:
        MissingArtifactError: If the artifact or one of its files is not there.
        ManifestMismatchError: If a file of it cannot be read.
    """
    from ofa_pipeline.documents import ClassNames, PixelStatistics, read_document

    classes = read_document(folder / Layout.CLASSES, ClassNames, remake=REMAKE)
    statistics = read_document(folder / Layout.STATISTICS, PixelStatistics, remake=REMAKE)
    return Dataset(
        folder=folder,
        class_names=classes.class_names,
        normalization=Normalization.of(statistics.mean, statistics.std),
        image_size_px=statistics.image_size_px,
        memory_limit_bytes=memory_limit_bytes,
        value_range=statistics.value_range,
    )


def _chunks(ids: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]
