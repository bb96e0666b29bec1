"""Decode batches ahead of their use: one thread reads row groups, several decode."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.cores import usable_cores
from ofa_pipeline.data.decode import square_pixels
from ofa_pipeline.data.shards import ROW_GROUP_ROWS, RowGroupReader, ShardIndex

if TYPE_CHECKING:
    from torch import Tensor

BATCHES_AHEAD = 2
REMEMBERED_ROW_GROUPS = 6144 // ROW_GROUP_ROWS
"""A shuffle window and a half: a window may begin and end within a row group."""
MIN_IMAGES_A_THREAD = 16
"""Below this the hand-over costs more than the decoding of small images."""


class PrefetchingLoader:
    """Loads batches of rows in order; to be used in a ``with``, and once."""

    def __init__(
        self,
        index: ShardIndex,
        image_size_px: int,
        *,
        remembered_row_groups: int = REMEMBERED_ROW_GROUPS,
    ) -> None:
        """Start no work yet.

        Args:
            index: Where the rows lie.
            image_size_px: Side of the decoded images.
            remembered_row_groups: Row groups that are held, encoded: those last read.
        """
        self._image_size_px = image_size_px
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

    def load(self, chunks: Iterable[NDArray[np.int64]]) -> "Iterator[Tensor]":
        """Yield the images of each chunk of rows: uint8, shape (N, 3, H, H)."""
        pending: deque[Future[Tensor]] = deque()
        for chunk in chunks:
            pending.append(self._reading.submit(self._load_chunk, chunk))
            if len(pending) > BATCHES_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _load_chunk(self, ids: NDArray[np.int64]) -> "Tensor":
        import torch

        contents = self._reader.read(ids)
        side = self._image_size_px
        pixels = np.empty((len(ids), 3, side, side), dtype=np.uint8)

        def decode(start: int, stop: int) -> None:
            for row in range(start, stop):
                pixels[row] = square_pixels(contents[row], side).transpose(2, 0, 1)

        share = max(MIN_IMAGES_A_THREAD, -(-len(ids) // self._num_threads))
        starts = range(0, len(ids), share)
        done = [self._decoding.submit(decode, s, min(s + share, len(ids))) for s in starts]
        for future in done:
            future.result()
        return torch.from_numpy(pixels)
