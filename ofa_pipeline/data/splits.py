"""Who goes where: stratified, disjoint splits that depend on the pixels and the seed alone.

Every image has a digest, a keyed hash of its pixels. Ordering a class by digest is a random
order that neither file names nor file order can change; each split takes a run of it. Images
with equal pixels have equal digests, which is how copies are kept out of two splits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.errors import DatasetError

SplitName = Literal["train", "calibration", "selection", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)
TRAIN = SPLIT_NAMES.index("train")
DRAWN = -1
"""Code of an image whose split the source leaves open."""
LEFT_OUT = -2
"""Code of an image that is in no split: a copy of one that is held out."""
DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class UsableImages:
    """The usable images of a source, one entry an image."""

    labels: NDArray[np.int32]
    """Class index."""
    digests: NDArray[np.uint8]
    """Shape (images, 16)."""
    path_keys: NDArray[np.uint64]
    """Hash of the path: the order among copies."""
    fixed: NDArray[np.int8]
    """The source's own split, selection or test, as an index of `SPLIT_NAMES`; or `DRAWN`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Where each image goes."""

    split: NDArray[np.int8]
    """Index of `SPLIT_NAMES`, or `LEFT_OUT`."""
    order: NDArray[np.int64]
    """All images in random order: by digest, copies by path."""
    num_copies: int
    """Images whose pixels another image has too, beyond the first of each."""
    num_contradicting: int
    """Images whose pixels an image of another class has too."""


def assign_splits(
    images: UsableImages, *, fractions: Mapping[SplitName, float], class_names: Sequence[str]
) -> Assignment:
    """Divide the images among the splits.

    Images of a split that the source fixes stay there. Copies never lie in two splits: where one
    is in a fixed test or selection split, those elsewhere are left out; otherwise all go to
    train. The other images of each class are divided by the fractions, at least one a split.

    Args:
        images: The usable images.
        fractions: Shares of the images that are divided, for each split that is drawn; the rest
            goes to train.
        class_names: For messages.

    Raises:
        DatasetError: If a class has too few images for its splits.
    """
    high, low = images.digests.view(">u8").astype(np.uint64).T
    order = np.lexsort((images.path_keys, low, high))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.cumsum(first) - 1
    split = _place_copies(images, group)
    for label in range(len(class_names)):
        members = order[images.labels[order] == label]
        copies = int((np.bincount(group)[group[members]] > 1).sum()) if len(members) else 0
        _divide(split, members[split[members] == DRAWN], fractions)
        _check_class(split[members], class_names[label], num_copies=copies)
    return Assignment(
        split=split,
        order=order,
        num_copies=int(len(order) - first.sum()),
        num_contradicting=_count_contradicting(images.labels, group),
    )


def _count_contradicting(labels: NDArray[np.int32], group: NDArray[np.int64]) -> int:
    """Return how many images are in a group of equal pixels with several labels."""
    if not len(group):
        return 0
    lowest = np.full(int(group.max()) + 1, np.iinfo(np.int32).max, dtype=np.int32)
    highest = np.full_like(lowest, -1)
    np.minimum.at(lowest, group, labels)
    np.maximum.at(highest, group, labels)
    return int((lowest != highest)[group].sum())


def _place_copies(images: UsableImages, group: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the splits, settled for images that are fixed or have copies, others `DRAWN`."""
    split = images.fixed.copy()
    has_copies = np.bincount(group)[group] > 1
    held_out = np.full(int(group.max()) + 1 if len(group) else 0, DRAWN, dtype=np.int8)
    np.maximum.at(held_out, group, images.fixed)
    home = held_out[group]
    split[(home >= 0) & (split != home)] = LEFT_OUT
    split[has_copies & (home < 0)] = TRAIN
    return split


def _divide(
    split: NDArray[np.int8], members: NDArray[np.int64], fractions: Mapping[SplitName, float]
) -> None:
    """Fill in the splits of the open images of a class, given in random order."""
    start = 0
    for name, fraction in fractions.items():
        count = max(1, int(fraction * len(members) + 0.5))
        split[members[start : start + count]] = SPLIT_NAMES.index(name)
        start += count
    split[members[start:]] = TRAIN


def _check_class(splits: NDArray[np.int8], name: str, *, num_copies: int) -> None:
    counts = np.bincount(splits[splits >= 0], minlength=len(SPLIT_NAMES))
    empty = [SPLIT_NAMES[index] for index in np.flatnonzero(counts == 0)]
    if not empty:
        return
    found = (
        f"every class must have an image in each of {', '.join(SPLIT_NAMES)}; class {name!r} "
        f"has {counts.sum()} usable images and none is left for {', '.join(empty)}"
    )
    if num_copies:
        raise DatasetError(
            f"{found}: {num_copies} of its {len(splits)} images have the same pixels as another "
            "one, and copies are never held out, or left out where a held-out image is equal. "
            "Look at why they are equal: only images with other pixels help"
        )
    raise DatasetError(
        f"{found}. Add images of it, remove the class, or change the fractions of the splits"
    )
