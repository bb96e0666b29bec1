"""Counts what the images of a source are like, in memory that does not grow with them."""

from collections import Counter
from dataclasses import dataclass, field

from ofa_pipeline.data.decode import SIXTEEN_BITS, FileFacts, ValueRange
from ofa_pipeline.dataset_summary import SizeSummary, most_frequent_first

MAX_SIZES = 1000
"""Different sizes that are counted; what comes after them is only compared."""
FREQUENT_SIZES = 3
LARGE, SMALL = 4, 2
"""Times that a shorter side is larger or smaller than what is stored: much."""
FEW_VALUES = 0.5
"""Share of 16 bits: below it, an image loses half of its 256 levels and more."""
USUAL_BITS = (10, 12, 14)
NO_EFFECT = "dataset.value_range has no effect: no image has more than 8 bits a channel"


@dataclass(slots=True)
class Survey:
    """What was seen so far."""

    image_size_px: int
    """That was asked for."""
    num_images: int = 0
    num_gray_as_color: int = 0
    num_large: int = 0
    num_small: int = 0
    num_panoramas: int = 0
    """Images so long that training sees their middle alone."""
    modes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    smallest: tuple[int, int] = (0, 0)
    largest: tuple[int, int] = (0, 0)
    num_deep: int = 0
    """Images with more than 8 bits a channel."""
    lowest: float = float("inf")
    highest: float = float("-inf")
    """Highest value of a deep image."""

    def add(self, facts: FileFacts, *, is_gray_as_color: bool, is_panorama: bool) -> None:
        """Count an image."""
        size = (facts.width, facts.height)
        if not self.num_images:
            self.smallest = self.largest = size
        self.num_images += 1
        self.num_gray_as_color += is_gray_as_color
        self.num_panoramas += is_panorama
        self.modes[facts.mode] += 1
        if size in self.sizes or len(self.sizes) < MAX_SIZES:
            self.sizes[size] += 1
        self.smallest = min(self.smallest, size, key=_by_sides)
        self.largest = max(self.largest, size, key=_by_sides)
        self.num_large += min(size) >= LARGE * self.image_size_px
        self.num_small += SMALL * min(size) < self.image_size_px
        if facts.values is not None:
            self.num_deep += 1
            self.lowest = min(self.lowest, facts.values[0])
            self.highest = max(self.highest, facts.values[1])

    def size_summary(self) -> SizeSummary:
        """Return what sizes there are."""
        frequent = sorted(self.sizes.items(), key=lambda item: (-item[1], item[0]))
        return SizeSummary(
            smallest=self.smallest,
            largest=self.largest,
            frequent=tuple((w, h, n) for (w, h), n in frequent[:FREQUENT_SIZES]),
        )

    def mode_counts(self) -> dict[str, int]:
        """Return the images of each mode, the most frequent first."""
        return most_frequent_first(self.modes)

    def depth_hint(self, value_range: ValueRange | None) -> str | None:
        """Return what is wrong with the range of values; None when nothing is."""
        if not self.num_deep:
            return None if value_range is None else NO_EFFECT
        found = (
            f"the values of the {self.num_deep:,} images with more than 8 bits a channel lie in "
            f"{self.lowest:g} to {self.highest:g}"
        )
        if value_range is not None:
            low, high = value_range
            if self.lowest < low or self.highest > high:
                return f"{found}: those beyond dataset.value_range {list(value_range)} are cut off"
            if self.highest - self.lowest >= FEW_VALUES * (high - low):
                return None
            return f"{found}, a small part of dataset.value_range {list(value_range)}"
        if self.highest - self.lowest >= FEW_VALUES * SIXTEEN_BITS:
            return None
        return (
            f"{found}, a small part of 0 to {SIXTEEN_BITS}: most of their levels collapse in 8 "
            f"bits. Set dataset.value_range: {self._advised_range()}"
        )

    def _advised_range(self) -> str:
        for bits in USUAL_BITS:
            top = (1 << bits) - 1
            if 0 <= self.lowest < top / 8 and top / 4 < self.highest <= top:
                return f"[0, {top}]"
        return f"[{self.lowest:g}, {self.highest:g}]"


def _by_sides(size: tuple[int, int]) -> tuple[int, int]:
    return min(size), max(size)
