"""What every source of labelled images offers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ofa_pipeline.data.splits import SplitName
from ofa_pipeline.errors import DatasetError


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image of a source, not read yet."""

    path: str
    """How the source names it; different for each image of a split."""
    label: int
    """Class index."""
    split: SplitName | None
    """Where the source puts it; None where the splits are to be drawn."""
    read: Callable[[], bytes]
    """Return the content of the image file; raises OSError or DatasetError."""


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file among the images that is no image."""

    path: str
    reason: str


class DatasetSource(Protocol):
    """A source of labelled images, checked as far as that goes without decoding."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        ...

    @property
    def num_images(self) -> int:
        """Number of images that `images` yields."""
        ...

    @property
    def class_counts(self) -> Sequence[int]:
        """Number of images of each class, in the order of the labels; empty where not listed."""
        ...

    @property
    def fixed_splits(self) -> frozenset[SplitName]:
        """Splits that the source has of its own."""
        ...

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """Files among the images that are none."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What a reader should know of how the source was understood."""
        ...

    def images(self) -> Iterator[SourceImage]:
        """Yield every image, one after the other, without holding them all."""
        ...

    def sample(self, count: int) -> Iterator[SourceImage]:
        """Yield some images from all over the source, about so many, without reading the rest."""
        ...


def check_classes(counts: Sequence[int], *, class_names: Sequence[str], origin: str) -> None:
    """Check that there are classes to tell apart, and images of each.

    Args:
        counts: Number of images of each class.
        class_names: Names of the classes.
        origin: What holds the images, for the message.

    Raises:
        DatasetError: If there are no images, fewer than two classes, or an empty class.
    """
    if not sum(counts):
        raise DatasetError(f"{origin} holds no images")
    if len(counts) < 2:  # noqa: PLR2004 - two is what classification needs
        raise DatasetError(
            f"{origin} must hold at least two classes, it has one: {class_names[0]!r}. "
            "A classifier needs something to tell apart"
        )
    empty = [name for name, count in zip(class_names, counts, strict=True) if not count]
    if empty:
        shown = ", ".join(repr(name) for name in empty[:5])
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""  # noqa: PLR2004 - shown
        raise DatasetError(
            f"every class of {origin} must have images, there are none of {shown}{more}. "
            "Add some or remove the class"
        )


def check_unique_names(class_names: Sequence[str], *, origin: str) -> None:
    """Check that no two classes have one name.

    Raises:
        DatasetError: Naming the first that are repeated.
    """
    repeated = sorted({name for name in class_names if class_names.count(name) > 1})
    if repeated:
        raise DatasetError(
            f"the class names of {origin} must differ, repeated: {', '.join(repeated[:5])}"
        )
