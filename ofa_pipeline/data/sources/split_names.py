"""Which split the name of a folder or file means; one list for every kind of source.

Names are compared without regard to case, dashes, underscores, dots and spaces: ``Train``,
``training_set`` and ``TRAIN-DATA`` are one name.
"""

import re
from collections.abc import Collection, Mapping
from typing import Literal

from ofa_pipeline.data.splits import SplitName

Role = Literal["train", "validation", "test", "evaluation"]
"""What a name says. ``evaluation`` is used for both held-out splits; `splits_of` settles it."""

ROLE_WORDS: Mapping[Role, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "trainval"),
    "validation": ("val", "valid", "validation", "validate", "dev", "devel", "development"),
    "test": ("test", "testing", "tst", "holdout", "heldout"),
    "evaluation": ("eval", "evaluation"),
}
_ENDINGS = (
    *("set", "data", "dataset", "split", "part", "subset"),
    *("image", "images", "img", "imgs", "photos", "samples", "examples", "folder", "dir"),
)
_NAME = re.compile(
    "(?:"
    + "|".join(f"(?P<{role}>{'|'.join(words)})" for role, words in ROLE_WORDS.items())
    + rf")(?:{'|'.join(_ENDINGS)})?(?:19\d\d|20\d\d)?"
)
_SEPARATORS = re.compile(r"[-_.\s]+")
_WORDS_OF_SPLITS = frozenset(
    {word for words in ROLE_WORDS.values() for word in words}
    | {"fold", "folds", "split", "splits", "part", "partition", "subset", "set", "cv"}
)


def role_of(name: str) -> Role | None:
    """Return what a name means as a split; None when it is not the name of one.

    A known word stands alone or before ``set``, ``data``, ``images`` and the like, and before a
    year: ``Train``, ``test_set``, ``val2017``, ``Training Images``.
    """
    found = _NAME.fullmatch(_SEPARATORS.sub("", name).lower())
    if found is None:
        return None
    return next(role for role in ROLE_WORDS if found[role] is not None)


def splits_of(roles: Collection[Role]) -> dict[Role, SplitName]:
    """Return the split that each role of a source becomes.

    The reported split is ``test``: the source's test split, else its only held-out one. With a
    test split, the other held-out one is ``selection``.
    """
    splits: dict[Role, SplitName] = {"train": "train", "test": "test"}
    splits["validation"] = "selection" if {"test", "evaluation"} & set(roles) else "test"
    splits["evaluation"] = "selection" if "test" in roles else "test"
    return {role: split for role, split in splits.items() if role in roles}


def resembles_split(name: str) -> bool:
    """Return whether a name has a word of splits in it: ``fold1``, ``pets_train``, ``trainA``."""
    return any(word in _WORDS_OF_SPLITS for word in _words(name))


def differ_in_split(one: str, other: str) -> bool:
    """Return whether two names are one but for the split: ``seg_train`` and ``seg_test``."""
    words, others = _words(one), _words(other)
    if len(words) != len(others):
        return False
    pairs = [(a, b) for a, b in zip(words, others, strict=True) if a != b]
    return len(pairs) == 1 and all(role_of(word) is not None for word in pairs[0])


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+|[0-9]+", name)]
