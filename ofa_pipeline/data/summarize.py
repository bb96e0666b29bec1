"""From what a preparation did to its summary: counts, and what looks wrong."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.data.decode import ValueRange
from ofa_pipeline.data.sources import lookalikes
from ofa_pipeline.data.sources.walk import shown
from ofa_pipeline.data.splits import SPLIT_NAMES, Assignment, SplitName
from ofa_pipeline.data.survey import LARGE, SMALL, Survey
from ofa_pipeline.data.uncropped import LONGEST_SIDE
from ofa_pipeline.dataset_summary import (
    ALL_CLASSES,
    SHOWN_CLASSES,
    ClassSummary,
    DatasetSummary,
    Fate,
    Passed,
    SplitSummary,
    quoted,
)

MAX_REASONS = 8
"""Most reasons that are listed for one fate; further ones are counted together."""
OTHER_REASONS = "other reasons, see quarantine.parquet"
EXAMPLES = 3
MAX_CLASS_RATIO = 10
MANY_COPIES = 0.05
MANY_GRAY = 0.01
MANY_SMALL = 0.1
_NUMBERS = re.compile(r"\d[\d,.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a preparation did."""

    source: str
    class_names: Sequence[str]
    fixed_splits: frozenset[SplitName]
    labels: NDArray[np.int32]
    """Class of each image that was decoded."""
    assignment: Assignment
    """Split of each of them."""
    survey: Survey
    passed: Mapping[Fate, Iterable[tuple[str, str]]]
    """Path and reason of what is in no split."""
    image_size_px: int
    """Side of the stored images."""
    value_range: ValueRange | None
    notes: Sequence[str] = ()
    """Remarks of the source."""


def summarize(outcome: Outcome) -> DatasetSummary:
    """Return the summary of a preparation."""
    survey, assignment = outcome.survey, outcome.assignment
    classes = class_counts(outcome.labels, assignment.split, outcome.class_names)
    return DatasetSummary(
        source=outcome.source,
        num_read=survey.num_images,
        num_copies=assignment.num_copies,
        image_size_px=outcome.image_size_px,
        splits=_split_summaries(classes, outcome.fixed_splits),
        num_classes=len(classes),
        classes=first_and_last(classes),
        smallest_class=min(classes, key=lambda item: item.total),
        largest_class=max(classes, key=lambda item: item.total),
        sizes=survey.size_summary(),
        modes=survey.mode_counts(),
        passed=tuple(
            item for fate, files in outcome.passed.items() for item in group_passed(fate, files)
        ),
        warnings=tuple(_warnings(outcome, classes)),
    )


def _warnings(outcome: Outcome, classes: Sequence[ClassSummary]) -> Iterator[str]:
    survey, assignment = outcome.survey, outcome.assignment
    yield from outcome.notes
    yield from class_warnings(classes)
    yield from image_warnings(survey, stored_px=outcome.image_size_px)
    hint = survey.depth_hint(outcome.value_range)
    if hint is not None:
        yield hint
    yield from copy_warnings(
        num_copies=assignment.num_copies,
        num_contradicting=assignment.num_contradicting,
        num_images=survey.num_images,
    )


def group_passed(fate: Fate, files: Iterable[tuple[str, str]]) -> list[Passed]:
    """Count files by the reason why they are in no split.

    Args:
        fate: What became of all of them.
        files: Path and reason of each. Reasons that differ in numbers only are one.
    """
    reasons: dict[str, str] = {}
    examples: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    for path, reason in files:
        key = _NUMBERS.sub("#", reason)
        if key not in reasons and len(reasons) >= MAX_REASONS:
            key = OTHER_REASONS
        reasons.setdefault(key, OTHER_REASONS if key == OTHER_REASONS else shown(reason))
        counts[key] += 1
        if len(examples.setdefault(key, [])) < EXAMPLES:
            examples[key].append(shown(path))
    ordered = sorted(counts, key=lambda key: (-counts[key], key))
    return [
        Passed(fate=fate, reason=reasons[key], count=counts[key], examples=tuple(examples[key]))
        for key in ordered
    ]


def class_counts(
    labels: NDArray[np.int32], split: NDArray[np.int8], class_names: Sequence[str]
) -> list[ClassSummary]:
    """Count the images of each class by split."""
    width = len(SPLIT_NAMES)
    kept = split >= 0
    cells = labels[kept].astype(np.int64) * width + split[kept]
    table = np.bincount(cells, minlength=width * len(class_names)).reshape(-1, width)
    return [
        ClassSummary(name=name, num_images=dict(zip(SPLIT_NAMES, row, strict=True)))
        for name, row in zip(class_names, table.tolist(), strict=True)
    ]


def first_and_last(classes: Sequence[ClassSummary]) -> tuple[ClassSummary, ...]:
    """Return all classes where they are few, else the first and the last."""
    if len(classes) <= ALL_CLASSES:
        return tuple(classes)
    return (*classes[:SHOWN_CLASSES], *classes[-SHOWN_CLASSES:])


def _split_summaries(
    classes: Sequence[ClassSummary], given: frozenset[SplitName]
) -> tuple[SplitSummary, ...]:
    """Return the splits; a source that has one of its own brought that to train on, too."""
    brought = given | {"train"} if given else given
    return tuple(
        SplitSummary(
            name=name,
            num_images=sum(item.num_images[name] for item in classes),
            is_given=name in brought,
        )
        for name in SPLIT_NAMES
    )


def class_warnings(classes: Sequence[ClassSummary]) -> list[str]:
    """Return what looks wrong about the classes."""
    found = []
    smallest = min(classes, key=lambda item: item.total)
    largest = max(classes, key=lambda item: item.total)
    if largest.total >= MAX_CLASS_RATIO * smallest.total:
        found.append(
            f"the largest class, {quoted(largest.name)}, has {largest.total:,} images, the "
            f"smallest, {quoted(smallest.name)}, has {smallest.total:,}: accuracy will say "
            "little about the small ones"
        )
    pairs = lookalikes([item.name for item in classes])
    if pairs:
        shown_pairs = ", ".join(f"{quoted(a)} and {quoted(b)}" for a, b in pairs[:EXAMPLES])
        found.append(f"classes whose names hardly differ: {shown_pairs}. Are they one?")
    return found


def image_warnings(survey: Survey, *, stored_px: int) -> list[str]:
    """Return what looks wrong about sizes, proportions and colours."""
    found, total, asked = [], survey.num_images, survey.image_size_px
    if survey.num_large > total / 2:
        found.append(
            f"{survey.num_large:,} of {total:,} images have a shorter side of {LARGE} times "
            f"dataset.image_size_px ({asked}) and more: their details are lost. A larger size "
            "keeps them, and takes longer"
        )
    if stored_px < asked and SMALL * stored_px < asked:
        found.append(
            f"all images are much smaller than dataset.image_size_px ({asked}): they are kept, "
            f"and stored at {stored_px} px"
        )
    elif survey.num_small > MANY_SMALL * total:
        found.append(
            f"{survey.num_small:,} of {total:,} images have a shorter side below half of "
            f"dataset.image_size_px ({asked}): they are enlarged, and look blurred"
        )
    if survey.num_panoramas:
        found.append(
            f"{survey.num_panoramas:,} of {total:,} images are panoramas, more than "
            f"{LONGEST_SIDE} times as long as wide: their ends are cut off, also where training "
            "draws boxes of whole images (training.augmentation: random_resized_crop). Cut them "
            "into several images to keep what is there"
        )
    if survey.num_gray_as_color > MANY_GRAY * total:
        found.append(
            f"{survey.num_gray_as_color:,} of {total:,} images are gray and stored as colour"
        )
    return found


def copy_warnings(*, num_copies: int, num_contradicting: int, num_images: int) -> list[str]:
    """Return what looks wrong about images with the same pixels."""
    found = []
    if num_copies > MANY_COPIES * num_images:
        found.append(
            f"{num_copies:,} of {num_images:,} images are exact copies of others: they are "
            "trained on and never held out, or left out where a held-out one is equal"
        )
    if num_contradicting:
        found.append(f"{num_contradicting:,} images have the same pixels as one of another class")
    return found
