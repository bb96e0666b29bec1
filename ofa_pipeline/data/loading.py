"""Decode batches ahead of their use: one thread reads row groups, several decode."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.cores import usable_cores
from ofa_pipeline.data.decode import Pixels, square_pixels
from ofa_pipeline.data.shards import ROW_GROUP_ROWS, RowGroupReader, ShardIndex
from ofa_pipeline.data.uncropped import on_canvas, uncropped_pixels

if TYPE_CHECKING:
    from torch import Tensor

BATCHES_AHEAD = 2
REMEMBERED_ROW_GROUPS = 6144 // ROW_GROUP_ROWS
"""A shuffle window and a half: a window may begin and end within a row group."""
MIN_IMAGES_A_THREAD = 16
"""Below this the hand-over costs more than the decoding of small images."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Decoded images."""

    pixels: "Tensor"
    """uint8, shape (N, 3, H, W)."""
    sizes: "Tensor | None"
    """Rows and columns of each that are its own, from the first on, int64, shape (N, 2); None: all
    of them."""


class PrefetchingLoader:
    """Loads batches of rows in order; to be used in a ``with``, and once."""

    def __init__(
        self,
        index: ShardIndex,
        image_size_px: int,
        *,
        is_uncropped: bool = False,
        remembered_row_groups: int = REMEMBERED_ROW_GROUPS,
    ) -> None:
        """Start no work yet.

        Args:
            index: Where the rows lie.
            image_size_px: Side of the decoded images; of uncropped ones, the shorter side.
            is_uncropped: Whether images keep their proportions instead of losing their ends.
            remembered_row_groups: Row groups that are held, encoded: those last read.
        """
        self._image_size_px = image_size_px
        self._is_uncropped = is_uncropped
        self._reader = RowGroupReader(index, remembered_row_groups=remembered_row_groups)
        self._num_threads = usable_cores()
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._decoding = ThreadPoolExecutor(self._num_threads, thread_name_prefix="decode")

    def __enter__(self) -> "PrefetchingLoader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reading.shutdown(cancel_futures=True)
        self._decoding.shutdown(cancel_futures=True)
        self._reader.close()

    def load(self, chunks: Iterable[NDArray[np.int64]]) -> Iterator[Pictures]:
        """Yield the images of each chunk of rows."""
        pending: deque[Future[Pictures]] = deque()
        load = self._load_uncropped if self._is_uncropped else self._load_squares
        for chunk in chunks:
            pending.append(self._reading.submit(load, chunk))
            if len(pending) > BATCHES_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _load_squares(self, ids: NDArray[np.int64]) -> Pictures:
        import torch

        contents = self._reader.read(ids)
        side = self._image_size_px
        pixels = np.empty((len(ids), 3, side, side), dtype=np.uint8)

        def decode(row: int) -> None:
            pixels[row] = square_pixels(contents[row], side).transpose(2, 0, 1)

        self._for_each(decode, len(ids))
        return Pictures(torch.from_numpy(pixels), None)

    def _load_uncropped(self, ids: NDArray[np.int64]) -> Pictures:
        import torch

        contents = self._reader.read(ids)
        images: list[Pixels] = [np.empty((0, 0, 3), np.uint8)] * len(ids)

        def decode(row: int) -> None:
            images[row] = uncropped_pixels(contents[row], self._image_size_px)

        self._for_each(decode, len(ids))
        pixels, sizes = on_canvas(images)
        return Pictures(torch.from_numpy(pixels), torch.from_numpy(sizes))

    def _for_each(self, decode: Callable[[int], None], count: int) -> None:
        """Decode rows on all threads, and wait for them."""

        def decode_some(start: int, stop: int) -> None:
            for row in range(start, stop):
                decode(row)

        share = max(MIN_IMAGES_A_THREAD, -(-count // self._num_threads))
        done = [
            self._decoding.submit(decode_some, start, min(start + share, count))
            for start in range(0, count, share)
        ]
        for future in done:
            future.result()
