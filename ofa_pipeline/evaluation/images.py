"""Images resized once for each resolution and kept in memory while they fit."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

import torch
from torch import Tensor

from ofa_pipeline.compute import copied_to
from ofa_pipeline.data import Normalization, Split, room_for_images
from ofa_pipeline.data.transforms import resize_normalize


@dataclass(kw_only=True)
class ResizedImages:
    """A split, or some of its images, ready for networks of any resolution.

    Resized batches are kept for the resolutions used last, up to `memory_limit_bytes`; a
    resolution that does not fit is resized again on every pass.
    """

    split: Split
    normalization: Normalization
    batch_size: int
    indices: Sequence[int] | None = None
    """Which images, in order, repeats allowed; all of them when left out."""
    device: torch.device | str = "cpu"
    """Where the resized images lie."""
    memory_limit_bytes: int | None = None
    """Most memory of all resized images together; None: what `room_for_images` gives."""
    _kept: OrderedDict[int, list[tuple[Tensor, Tensor]]] = field(
        default_factory=OrderedDict, init=False, repr=False
    )
    _limit: int = field(init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        """Ask the device for room, before anything else takes it."""
        limit = self.memory_limit_bytes
        self._limit = room_for_images(torch.device(self.device)) if limit is None else limit

    @property
    def num_images(self) -> int:
        """Number of images of a pass."""
        return self.split.num_images if self.indices is None else len(self.indices)

    def batches(self, resolution_px: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (N, 3, r, r), channels last, with their labels (N,)."""
        if self._bytes(resolution_px) > self._limit:
            yield from self._resized(resolution_px)
            return
        with self._lock:  # several threads may evaluate
            if resolution_px not in self._kept:
                self._make_room(resolution_px)
                self._kept[resolution_px] = list(self._resized(resolution_px))
            self._kept.move_to_end(resolution_px)
            kept = self._kept[resolution_px]
        yield from kept

    def _resized(self, resolution_px: int) -> Iterator[tuple[Tensor, Tensor]]:
        device = torch.device(self.device)
        for batch in self.split.batches(self.batch_size, order=self.indices):
            images = resize_normalize(
                copied_to(device, batch.images),
                resolution_px=resolution_px,
                normalization=self.normalization,
            )
            labels = copied_to(device, batch.labels)
            yield images.contiguous(memory_format=torch.channels_last), labels

    def _bytes(self, resolution_px: int) -> int:
        return self.num_images * 3 * resolution_px**2 * 4

    def _make_room(self, resolution_px: int) -> None:
        kept = sum(self._bytes(size) for size in self._kept)
        while self._kept and kept + self._bytes(resolution_px) > self._limit:
            oldest, _ = self._kept.popitem(last=False)
            kept -= self._bytes(oldest)
