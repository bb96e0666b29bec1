"""Which folders of a source are its splits, and which are its classes.

A folder is a split when it is called like one and holds class folders. What looks like a split
and is not understood is an error: guessing would train on test images, or take the splits for
the classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ofa_pipeline.data.sources.split_names import (
    Role,
    differ_in_split,
    resembles_split,
    role_of,
    splits_of,
)
from ofa_pipeline.data.sources.walk import (
    CIRCLE,
    FolderKey,
    Found,
    Listing,
    contains_image,
    is_probably_image,
    leads_back,
    list_folder,
    shown,
    subfolder_names,
)
from ofa_pipeline.data.splits import SplitName
from ofa_pipeline.errors import DatasetError

KNOWN = (
    "Splits are called train, val (or valid, validation, dev) and test, in any case, also with "
    "_set or _data behind"
)
AS_CLASSES = "if these are classes, put all class folders into one folder called train"
MIN_SPLITS, MAX_SPLITS = 2, 3
SHARED_CLASSES = 2
"""Folders with as many subfolders of the same names are rather parts of one whole than classes."""


@dataclass(frozen=True, slots=True)
class Part:
    """A folder of class folders."""

    folder: Path
    split: SplitName | None
    """Where its images go; None where the splits are to be drawn."""


def find_parts(root: Path, *, above: frozenset[FolderKey]) -> tuple[list[Part], list[Found]]:
    """Tell splits from classes.

    Args:
        root: The folder of the source.
        above: It and all that it lies in.

    Returns:
        The parts, the one to train on first (the root alone where there are no splits), and
        what lies beside the splits and is not a split.

    Raises:
        DatasetError: If there is something that looks like a split and is not understood.
    """
    listing = list_folder(root)
    check_no_broken_link(root, listing)
    names = [name for name in listing.all_folders if not leads_back(root / name)]
    roles = {name: role for name in names if (role := role_of(name)) is not None}
    with_classes = {name: role for name, role in roles.items() if subfolder_names(root / name)}
    if not with_classes:
        _refuse_flat_splits(root, names, roles)
        _refuse_resemblance(root, names)
        _refuse_inner_splits(root, names)
        _refuse_same_insides(root, names)
        return [Part(root, None)], []
    circles = [name for name in listing.links if name not in names]
    passed = [
        *(Found(root / name, CIRCLE) for name in circles),
        *(Found(root / name, why) for name, why in listing.others),
        *_beside(root, listing.files),
        *_unknown_folders(root, [n for n in names if n not in with_classes], above),
    ]
    return _settle(root, with_classes), passed


def check_no_broken_link(folder: Path, listing: Listing) -> None:
    """Check that no class or split is missing behind a link.

    Raises:
        DatasetError: Naming the first.
    """
    if listing.broken:
        raise DatasetError(
            f"{shown(folder / listing.broken[0])} is a link to nothing: images may be missing. "
            "Mend the link or remove it"
        )


def _settle(root: Path, roles: Mapping[str, Role]) -> list[Part]:
    splits = splits_of(set(roles.values()))
    homes: dict[SplitName, str] = {}
    for name, role in roles.items():
        other = homes.setdefault(splits[role], name)
        if other != name:
            raise DatasetError(
                f"{shown(root)} must have one folder a split, {shown(other)}/ and {shown(name)}/ "
                f"mean the same one. Merge them or move one away. {KNOWN}"
            )
    if "train" not in homes:
        raise DatasetError(
            f"{shown(root)} must have a folder to train on, it has only {_listed(roles)}. "
            f"{KNOWN}; {AS_CLASSES}"
        )
    train = root / homes.pop("train")
    if not homes:
        return [Part(train, None)]
    order: tuple[SplitName, ...] = ("test", "selection")
    return [Part(train, None), *(Part(root / homes[s], s) for s in order if s in homes)]


def _beside(root: Path, files: Sequence[str]) -> Iterator[Found]:
    for name in files:
        what = "an image" if is_probably_image(root / name) else "a file"
        yield Found(root / name, f"{what} beside the folders of the splits")


def _unknown_folders(
    root: Path, names: Sequence[str], above: frozenset[FolderKey]
) -> Iterator[Found]:
    """Yield folders beside the splits that hold no image.

    Raises:
        DatasetError: For one that does.
    """
    for name in names:
        if not contains_image(root / name, above=above):
            yield Found(root / name, "a folder beside those of the splits, without images")
        elif role_of(name) is None:
            raise DatasetError(
                f"{shown(root)} has splits, and beside them {shown(name)}/ with images, which is "
                f"none. Rename it, or move it away. {KNOWN}; {AS_CLASSES}"
            )
        else:
            raise DatasetError(
                f"a folder of a split must hold class folders, {shown(root / name)} holds images "
                "without a class. Sort them into class folders, or move it away"
            )


def _refuse_flat_splits(root: Path, names: Sequence[str], roles: Mapping[str, Role]) -> None:
    """Refuse splits without class folders; one class called train among others is a class."""
    if roles and (len(roles) == len(names) or len(set(roles.values())) > 1):
        raise DatasetError(
            f"{shown(root)} has folders called as splits, {_listed(roles)}, without class folders "
            f"in them: they hold images without a class. Sort those into class folders; "
            f"{AS_CLASSES}"
        )


def _refuse_resemblance(root: Path, names: Sequence[str]) -> None:
    suspects = [name for name in names if resembles_split(name)]
    if len(suspects) > 1 and len(suspects) == len(names):
        _refuse(root, suspects)
    inside = {name: set(subfolder_names(root / name)) for name in names} if suspects else {}
    for name in suspects:
        others = [other for other in names if other != name]
        if any(
            len(inside[name] & inside[other]) >= SHARED_CLASSES or differ_in_split(name, other)
            for other in others
        ):
            _refuse(root, suspects)


def _refuse_inner_splits(root: Path, names: Sequence[str]) -> None:
    """Refuse ``CLASS/train`` beside ``CLASS/test``: all would be images of the class."""
    for name in names:
        inside = {sub: role_of(sub) for sub in subfolder_names(root / name)}
        roles = {role: sub for sub, role in inside.items() if role is not None}
        if "train" in roles and len(roles) > 1:
            if len(names) == 1:
                raise DatasetError(
                    f"{shown(root)} holds one folder, and the splits lie in that "
                    f"({_listed(sorted(roles.values()))}). Name image_folder:{shown(root / name)}"
                )
            raise DatasetError(
                f"splits must hold the class folders, {shown(root / name)} is a class that holds "
                f"{_listed(sorted(roles.values()))}. Turn them around: "
                f"{shown(roles['train'])}/{shown(name)}/"
            )


def _refuse_same_insides(root: Path, names: Sequence[str]) -> None:
    """Refuse two or three folders of the same folders: rather splits than classes, by any name."""
    if not MIN_SPLITS <= len(names) <= MAX_SPLITS:
        return
    insides = [set(subfolder_names(root / name)) for name in names]
    if len(insides[0]) >= SHARED_CLASSES and all(inside == insides[0] for inside in insides):
        _refuse(root, names)


def _refuse(root: Path, suspects: Sequence[str]) -> None:
    raise DatasetError(
        f"{shown(root)} has folders that look like splits and are not understood: "
        f"{_listed(suspects)}. Rename them. {KNOWN}; {AS_CLASSES}"
    )


def _listed(names: Sequence[str] | Mapping[str, Role]) -> str:
    some = [f"{shown(name)}/" for name in list(names)[:5]]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""  # noqa: PLR2004 - as above
    return ", ".join(some) + more
