"""A quick look at a source of images: how many, of what sizes and classes, from a sample."""

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.errors import DatasetError

if TYPE_CHECKING:
    from ofa_pipeline.data import Proportions
    from ofa_pipeline.data.sources import SourceImage

SAMPLE_IMAGES = 200
SAMPLE_S = 12.0
"""Longest time for decoding the sample; large photos are fewer."""
_DRAFT_PX = 256
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSurvey:
    """What is known of a source after a glance."""

    source: str
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    """Images of each class; empty where the source does not list them."""
    num_images: int
    fixed_splits: frozenset[str]
    """Splits that the source has of its own."""
    split_shares: Mapping[str, float]
    """Share of the images that lie in each of those, and in ``train``; of the sample."""
    num_sampled: int
    """Images that were decoded; what follows is of them."""
    shorter_sides_px: tuple[int, ...]
    """Ascending."""
    proportions: "Proportions"
    num_gray: int
    """Images whose channels are all equal, whatever their mode."""
    unreadable: tuple[str, ...]
    """Path and reason of each image of the sample that cannot be decoded."""
    file_bytes: float
    """Mean size of an image file."""
    decode_s: float
    """Mean CPU seconds to decode one."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def smallest_class(self) -> tuple[str, int] | None:
        """Name and images of the class that has fewest; None where they are not listed."""
        pairs = zip(self.class_counts, self.class_names, strict=False)
        return next(((name, count) for count, name in sorted(pairs)), None)

    @property
    def largest_class(self) -> tuple[str, int] | None:
        """Name and images of the class that has most; None where they are not listed."""
        pairs = zip(self.class_counts, self.class_names, strict=False)
        return next(((name, count) for count, name in sorted(pairs, reverse=True)), None)

    def shorter_side_px(self, share: float) -> int:
        """Return the shorter side below which a share of the sample lies."""
        sides = self.shorter_sides_px
        return sides[min(int(share * len(sides)), len(sides) - 1)]

    @property
    def lines(self) -> tuple[str, ...]:
        """For people: what was found."""
        sides = self.shorter_sides_px
        size = f"{sides[0]} to {sides[-1]} px, half of them at least {self.shorter_side_px(0.5)}"
        if sides[0] == sides[-1]:
            size = f"{sides[0]} px"
        found = [
            f"{self.num_images:,} images of {self.num_classes} classes{self._balance}",
            f"shorter side {size}; {self._colors} (of a sample of {self.num_sampled:,})",
        ]
        if self.fixed_splits:
            found.append(f"splits of its own: {', '.join(sorted(self.fixed_splits))}")
        if self.unreadable:
            shown = "; ".join(self.unreadable[:_SHOWN])
            found.append(
                f"{len(self.unreadable)} of {self.num_sampled + len(self.unreadable)} looked at "
                f"cannot be decoded: {shown}"
            )
        return tuple(found)

    @property
    def _balance(self) -> str:
        smallest, largest = self.smallest_class, self.largest_class
        if smallest is None or largest is None:
            return ""
        if smallest[1] == largest[1]:
            return f", {smallest[1]:,} each"
        return f", {smallest[1]:,} ({smallest[0]}) to {largest[1]:,} ({largest[0]}) each"

    @property
    def _colors(self) -> str:
        if self.num_gray in (0, self.num_sampled):
            return "gray" if self.num_gray else "colour"
        return f"{self.num_gray} gray, {self.num_sampled - self.num_gray} colour"


def survey_source(
    spec: str, *, base: Path, num_images: int = SAMPLE_IMAGES, seconds: float = SAMPLE_S
) -> SourceSurvey:
    """Look at a source: its files are listed, and a sample of them is decoded.

    Args:
        spec: As `ofa_pipeline.data.sources.open_source` takes it.
        base: What a relative path starts from.
        num_images: About so many are decoded at most.
        seconds: As many are decoded as this time allows, three at least.

    Raises:
        DatasetError: If the source cannot be used, or no image of the sample can be decoded.
    """
    from ofa_pipeline.data import Proportions
    from ofa_pipeline.data.sources import open_source

    source = open_source(spec, base=base)
    sample = list(islice(source.sample(num_images), 2 * num_images))
    random.Random(0).shuffle(sample)  # where time ends, every class has been seen
    seen = _look_at(sample, seconds)
    if not seen.sizes:
        shown = "; ".join(seen.unreadable[:_SHOWN])
        raise DatasetError(
            f"the images of {spec} must be readable, but none of {len(seen.unreadable)} that were "
            f"looked at is: {shown}"
        )
    return SourceSurvey(
        source=spec,
        class_names=tuple(source.class_names),
        class_counts=tuple(source.class_counts),
        num_images=source.num_images,
        fixed_splits=frozenset(source.fixed_splits),
        split_shares=_shares(Counter(image.split or "train" for image in sample)),
        num_sampled=len(seen.sizes),
        shorter_sides_px=tuple(sorted(min(size) for size in seen.sizes)),
        proportions=Proportions.of(seen.sizes),
        num_gray=seen.num_gray,
        unreadable=tuple(seen.unreadable),
        file_bytes=seen.num_bytes / len(seen.sizes),
        decode_s=seen.cpu_s / len(seen.sizes),
    )


def _shares(counts: Counter[str]) -> dict[str, float]:
    return {name: count / counts.total() for name, count in counts.items()}


class _Seen:
    """What the sample came to so far."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []
        """Width and height of each, as it is seen."""
        self.num_gray = 0
        self.num_bytes = 0
        self.cpu_s = 0.0
        self.unreadable: list[str] = []


def _look_at(images: "Sequence[SourceImage]", seconds: float) -> _Seen:
    from ofa_pipeline.data.decode import center_square, decode_source_image, rgb_pixels, shrink

    seen, deadline = _Seen(), time.monotonic() + seconds
    for image in images:
        begin = time.process_time()
        try:
            content = image.read()
            decoded = decode_source_image(content, at_least_px=_DRAFT_PX, value_range=None)
        except DatasetError as error:
            seen.unreadable.append(f"{image.path}: {error}")
            continue
        except OSError as error:
            seen.unreadable.append(f"{image.path}: {error.strerror or error}")
            continue
        pixels = rgb_pixels(center_square(shrink(decoded.image, _DRAFT_PX)))
        seen.cpu_s += time.process_time() - begin
        seen.num_gray += bool((pixels == pixels[..., :1]).all())
        width, height = decoded.file.width, decoded.file.height
        is_turned = (width < height) != (decoded.image.width < decoded.image.height)
        seen.sizes.append((height, width) if is_turned else (width, height))
        seen.num_bytes += len(content)
        if time.monotonic() > deadline and len(seen.sizes) >= _SHOWN:
            break
    return seen
