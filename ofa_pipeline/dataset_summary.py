"""What the preparation of a dataset did, for people: a value, its JSON document, its text."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ofa_pipeline.artifacts import Layout, write_json

MADE_BY = "ofa-pipeline stage prepare_dataset"
SHOWN_CLASSES = 2
"""Number of first and of last classes that are shown where there are too many."""
ALL_CLASSES = 5
"""As many are shown, all of them."""
NARROW = 60
"""Below this width, a text begins behind its label instead of in a column."""

Fate = Literal["lost", "skipped", "left out"]
"""Lost: an image that cannot be decoded. Skipped: no image, or of no class. Left out:
a training image that a held-out one equals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """One split."""

    name: str
    num_images: int
    is_given: bool
    """Whether the source brought it; else it was drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSummary:
    """One class."""

    name: str
    num_images: Mapping[str, int]
    """By split."""

    @property
    def total(self) -> int:
        """Images of all splits."""
        return sum(self.num_images.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeSummary:
    """Width and height of the files, in pixels."""

    smallest: tuple[int, int]
    largest: tuple[int, int]
    """By the shorter side, then the longer."""
    frequent: tuple[tuple[int, int, int], ...]
    """Width, height and number of images of the most frequent sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Files that are in no split, for one reason."""

    fate: Fate
    reason: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """What was found, what was made of it, and what looks wrong."""

    source: str
    num_read: int
    """Images that were decoded."""
    num_copies: int
    """Images whose pixels an earlier one has."""
    image_size_px: int
    splits: tuple[SplitSummary, ...]
    num_classes: int
    classes: tuple[ClassSummary, ...]
    """All, or the first and the last ones."""
    smallest_class: ClassSummary
    largest_class: ClassSummary
    sizes: SizeSummary
    modes: Mapping[str, int]
    """Images by Pillow's mode of the file."""
    passed: tuple[Passed, ...]
    """By fate, the most frequent reason first."""
    warnings: tuple[str, ...]
    format: Literal[1] = 1
    """Format number, which the file lacks: digests of trainings depend on the file."""

    def num_passed(self, fate: Fate) -> int:
        """Return how many files had a fate."""
        return sum(item.count for item in self.passed if item.fate == fate)


def most_frequent_first(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts in descending order; equal ones by their names."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def write_summary(summary: DatasetSummary, folder: Path) -> None:
    """Write the summary beside the shards: no clock, host or path of this machine."""
    values = asdict(summary)
    del values["format"]
    write_json(folder / Layout.DATASET_SUMMARY, values)


def read_summary(folder: Path) -> DatasetSummary | None:
    """Read the summary of a prepared dataset; None if an earlier version prepared it without one.

    Raises:
        ManifestMismatchError: If the file is not a summary.
    """
    from ofa_pipeline.documents import read_document

    path = folder / Layout.DATASET_SUMMARY
    if not path.exists():
        return None
    return read_document(path, DatasetSummary, remake=MADE_BY)


# ---- as text ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the summary."""

    text: str
    is_warning: bool = False


def summary_lines(summary: DatasetSummary, *, width: int) -> list[Line]:
    """Return the summary as lines that are at most `width` characters wide (20 at least)."""
    lines = [Line(text) for text in _wrapped("dataset", summary.source, width=width, is_title=True)]
    for label, text in summary_entries(summary):
        lines += [Line(line) for line in _wrapped(label, text, width=width)]
    for text in summary.warnings:
        lines += [Line(line, is_warning=True) for line in _wrapped("warning", text, width=width)]
    return lines


def summary_entries(summary: DatasetSummary) -> Iterator[tuple[str, str]]:
    """Yield what there is to say but the warnings: a word, and a text; no word where it goes on."""
    copies = f", {summary.num_copies:,} copies among them" if summary.num_copies else ""
    lost = summary.num_passed("lost")
    yield (
        "images",
        f"{summary.num_read:,} read{copies}, {f'{lost:,}' if lost else 'none'} lost; "
        f"stored at {summary.image_size_px} px",
    )
    yield "splits", ", ".join(_split_text(split) for split in summary.splits)
    yield "classes", _classes_text(summary)
    left = summary.num_classes - len(summary.classes)
    for index, item in enumerate(summary.classes):
        if left and index == SHOWN_CLASSES:
            yield "", f"... {left:,} more ..."
        yield "", _class_text(item, summary)
    yield "sizes", _sizes_text(summary.sizes, summary.num_read)
    modes = most_frequent_first(summary.modes)
    yield "modes", ", ".join(f"{mode} ({count:,})" for mode, count in modes.items())
    for passed in summary.passed:
        yield passed.fate, _passed_text(passed)


def quoted(name: str) -> str:
    """Return a class name as it is where that is clear, else between quotes; cut when long."""
    cut = name if len(name) <= 40 else f"{name[:37]}..."  # noqa: PLR2004 - half a line
    is_clear = name == name.strip() and not any(char in "\"',;:()" for char in name)
    return cut if is_clear else '"' + cut.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _classes_text(summary: DatasetSummary) -> str:
    smallest, largest = summary.smallest_class, summary.largest_class
    if smallest.total == largest.total:
        return f"{summary.num_classes:,} of {largest.total:,} images each"
    text = quoted(smallest.name) if smallest in summary.classes else _class_text(smallest, summary)
    return (
        f"{summary.num_classes:,}; the largest has {largest.total:,} images "
        f"({quoted(largest.name)}), the smallest {smallest.total:,} ({text})"
    )


def _class_text(item: ClassSummary, summary: DatasetSummary) -> str:
    splits = [split.name for split in summary.splits if split.name in item.num_images]
    counts = ", ".join(f"{name} {item.num_images[name]:,}" for name in splits)
    return f"{quoted(item.name)}: {counts}"


def _split_text(split: SplitSummary) -> str:
    return f"{split.name} {split.num_images:,} ({'of the source' if split.is_given else 'drawn'})"


def _sizes_text(sizes: SizeSummary, num_read: int) -> str:
    frequent = ", ".join(f"{w} x {h} ({count:,})" for w, h, count in sizes.frequent)
    if sum(count for _, _, count in sizes.frequent) == num_read:
        return frequent
    (small_w, small_h), (large_w, large_h) = sizes.smallest, sizes.largest
    return f"{small_w} x {small_h} to {large_w} x {large_h}; most often {frequent}"


def _passed_text(item: Passed) -> str:
    more = ", ..." if item.count > len(item.examples) else ""
    return f"{item.count:,}: {item.reason} ({', '.join(item.examples)}{more})"


def _wrapped(label: str, text: str, *, width: int, is_title: bool = False) -> Sequence[str]:
    indent = "" if is_title else "  "
    if is_title or width < NARROW:
        first = f"{indent}{label}: " if label and not is_title else f"{indent}{label} "
        first, rest = (first if label else "    "), "    "
    else:
        first, rest = f"{indent}{label:<9} ", " " * 12
    return textwrap.wrap(
        text,
        width=max(width, 20),
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
    )
