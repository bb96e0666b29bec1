"""Which Parquet files a folder holds, and which splits their names say that they are.

As the Hugging Face Hub and the datasets library lay them out, for example
``data/train-00000-of-00002.parquet``, ``default/test/0000.parquet`` and ``train.parquet``.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ofa_pipeline.data.sources.base import SkippedFile
from ofa_pipeline.data.sources.junk import is_junk
from ofa_pipeline.data.sources.split_names import Role, role_of, splits_of
from ofa_pipeline.data.splits import SplitName
from ofa_pipeline.errors import DatasetError

MAGIC = b"PAR1"
ENDINGS = (".parquet", ".parq", ".pq")
PARTIAL = "partial-"
"""Before the name of a split of which the Hub converted the first gigabytes only."""
_OTHER_SPLITS = {"fold", "folds", "split", "splits"}
_SEPARATORS = re.compile(r"[-_.\s]+")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A Parquet file and what its name says."""

    path: Path
    shown: str
    """Its path below the source."""
    role: Role | None
    place: str
    """The folder that the split lies in: of a configuration, where there are several."""


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """What a source holds."""

    files: tuple[NamedFile, ...]
    skipped: tuple[SkippedFile, ...]


def find_parquet_files(path: Path) -> FoundFiles:
    """Return the Parquet files of a folder, in order of their paths, and what else lies there.

    A file is one by its ending or its content. A split is what the name of the file says
    (``train``, ``test``, ``validation`` and the like as one of its words), else the name of a
    folder above it, the nearest first. Links to folders are followed. A single file is no split,
    whatever its name.

    Raises:
        DatasetError: If no file is found, if the splits of only some files are known, if a name
            says two, or if a split occurs in several configurations.
    """
    if path.is_file():
        return FoundFiles((NamedFile(path, path.name, None, ""),), ())
    if not path.is_dir():
        raise DatasetError(f"parquet must be a Parquet file or a folder of them, {path} is neither")
    files, skipped = [], []
    for file in _walk(path):
        shown = file.relative_to(path).as_posix().encode(errors="surrogateescape")
        text = shown.decode(errors="backslashreplace")
        if _is_parquet(file):
            role, place = _role_of(file.relative_to(path), text)
            files.append(NamedFile(file, text, role, place))
        else:
            skipped.append(SkippedFile(text, "is not a Parquet file"))
    if not files:
        raise DatasetError(f"{path} must hold Parquet files, there is none{_what_else(skipped)}")
    _check_complete(path, files)
    _check_configurations(path, files)
    return FoundFiles(tuple(files), tuple(skipped))


def settle_splits(
    roles: Sequence[Role | None], *, shown: Sequence[str], origin: Path
) -> list[SplitName | None]:
    """Return the split of each file; None where the splits are to be drawn.

    Args:
        roles: What the names say; None also for a file without labelled images.
        shown: Names of the files, for the message.
        origin: What holds the files, for the message.

    Raises:
        DatasetError: If there are no images to train on.
    """
    splits = splits_of({role for role in roles if role is not None})
    if splits and "train" not in splits:
        raise DatasetError(
            f"there must be images to train on, {origin} has only {', '.join(shown[:5])}"
        )
    found = [None if role is None else splits[role] for role in roles]
    return [None if split == "train" else split for split in found]


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the visible files of a folder and those below it; a loop of links is entered once."""
    entered: dict[str, tuple[tuple[int, int], ...]] = {}
    for current, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        status = Path(current).stat()
        above = entered.get(str(Path(current).parent), ())
        own = (status.st_dev, status.st_ino)
        entered[current] = (*above, own)
        if own in above:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        for name in sorted(files):
            if not _is_hidden(name):
                yield Path(current) / name


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or is_junk(name)


def _raise(error: OSError) -> None:
    """Make `os.walk` stop at a folder that may not be read, which it would skip."""
    raise DatasetError(f"{error.filename} cannot be read: {error.strerror}") from error


def _is_parquet(path: Path) -> bool:
    if path.suffix.lower() in ENDINGS:
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _role_of(path: Path, shown: str) -> tuple[Role | None, str]:
    """Return what the path of a file says, and where it says so."""
    words = [word.rstrip("0123456789") for word in _SEPARATORS.split(path.stem)]
    roles = {role for word in words if (role := role_of(word)) is not None}
    if len(roles) > 1:
        raise DatasetError(
            f"the name of a file must say one split, {shown} says {' and '.join(sorted(roles))}. "
            "Rename it"
        )
    if roles:
        return roles.pop(), path.parent.as_posix()
    for folder in path.parents:
        if (role := role_of(folder.name.removeprefix(PARTIAL))) is not None:
            return role, folder.parent.as_posix()
    named = {word.lower() for part in path.parts for word in re.findall("[A-Za-z]+", part)}
    if named & _OTHER_SPLITS:
        raise DatasetError(
            f"{shown} looks like a part of a split that is not known. Call files or folders "
            "train, validation and test, or name one of them in dataset.source"
        )
    return None, ""


def _check_complete(root: Path, files: Sequence[NamedFile]) -> None:
    named = [file for file in files if file.role is not None]
    unnamed = [file for file in files if file.role is None]
    if named and unnamed:
        raise DatasetError(
            f"all files in {root} must say which split they are, or none: {named[0].shown} is "
            f"{named[0].role}, {unnamed[0].shown} is not known. Call files or folders train, "
            "validation and test, or take the others away"
        )


def _check_configurations(root: Path, files: Sequence[NamedFile]) -> None:
    places: dict[Role | None, set[str]] = {}
    for file in files:
        places.setdefault(file.role, set()).add(file.place)
    for role, found in places.items():
        if len(found) > 1:
            names = sorted(found)
            raise DatasetError(
                f"{root} holds {role} images in several configurations: {', '.join(names[:5])}. "
                f"Name one of them, for example parquet:{root / names[0]}"
            )


def _what_else(skipped: Sequence[SkippedFile]) -> str:
    if any(file.path.endswith(".arrow") for file in skipped):
        return (
            ", but Arrow files as Dataset.save_to_disk writes them. Load it with the datasets "
            "library and write it with Dataset.to_parquet"
        )
    return f", only {', '.join(file.path for file in skipped[:5])}" if skipped else ""
