"""What the images of a split take of memory: kept decoded, or on their way when streamed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from ofa_pipeline.data import lanes
from ofa_pipeline.data.dataset import DEFAULT_MEMORY_LIMIT_BYTES
from ofa_pipeline.data.loading import BATCHES_AHEAD, REMEMBERED_ROW_GROUPS
from ofa_pipeline.data.shards import ROW_GROUP_ROWS
from ofa_pipeline.data.uncropped import LONGEST_SIDE

_CHANNELS = 3
_BATCHES_IN_USE = 2
"""That which is trained on, and the next, which is taken before the first is let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportions:
    """The sides of images, in shorter sides."""

    area: float
    """Of all of an image, on average."""
    highest: float
    widest: float
    """A batch lies on a canvas as high as the highest and as wide as the widest of its images."""

    @classmethod
    def of(cls, sizes: Iterable[tuple[int, int]]) -> Self:
        """Return those of some images, at least one.

        Args:
            sizes: Width and height of each.
        """
        sides = [
            (width / min(width, height), height / min(width, height)) for width, height in sizes
        ]
        return cls(
            area=sum(width * height for width, height in sides) / len(sides),
            highest=min(LONGEST_SIDE, max(height for _, height in sides)),
            widest=min(LONGEST_SIDE, max(width for width, _ in sides)),
        )

    @property
    def are_squares(self) -> bool:
        """Whether all images are squares."""
        return self.highest == self.widest == 1

    def canvas_px(self, shorter_side_px: int) -> tuple[int, int]:
        """Return rows and columns of a canvas."""
        return round(self.highest * shorter_side_px), round(self.widest * shorter_side_px)


SQUARES = Proportions(area=1.0, highest=1.0, widest=1.0)
PHOTOS = Proportions(area=1.35, highest=1.5, widest=1.5)
"""Lying and standing; where no image can be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What the images of one split take."""

    num_images: int
    image_size_px: int
    """Shorter side of the decoded images."""
    stored_bytes: float
    """Mean size of a stored image."""
    proportions: Proportions = SQUARES
    """That images are read with: other ones than squares are streamed, however few they are."""

    @property
    def is_kept(self) -> bool:
        """Whether all images stay in memory, decoded."""
        return self.proportions.are_squares and self._all_bytes <= DEFAULT_MEMORY_LIMIT_BYTES

    def memory_bytes(self, batch_size: int) -> int:
        """Return what they take of memory, at most.

        Args:
            batch_size: Images a batch, where they are streamed.
        """
        if self.is_kept:
            return self._all_bytes
        remembered = REMEMBERED_ROW_GROUPS
        if self.num_images >= lanes.MIN_ROWS:
            remembered = lanes.REMEMBERED_ROW_GROUPS
        encoded = self.stored_bytes * min(self.num_images, remembered * ROW_GROUP_ROWS)
        height, width = self.proportions.canvas_px(self.image_size_px)
        batches = BATCHES_AHEAD + _BATCHES_IN_USE
        return round(encoded) + batches * batch_size * _CHANNELS * height * width

    @property
    def _all_bytes(self) -> int:
        return self.num_images * _CHANNELS * self.image_size_px**2
