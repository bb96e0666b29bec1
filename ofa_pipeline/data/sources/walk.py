"""Every file below a folder, through links too: each folder once, and never in circles."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ofa_pipeline.data.formats import HEAD_BYTES, has_image_ending, is_image_start, why_no_image
from ofa_pipeline.data.sources.junk import is_junk
from ofa_pipeline.errors import DatasetError

FolderKey = tuple[int, int]
"""Device and inode: what a folder is, whatever it is called."""

NO_FILE = "neither a file nor a folder"
HIDDEN = "hidden: the name begins with a dot"
CIRCLE = "a link to a folder that it lies in: a circle"
SEEN = "a link to a folder whose files are here already, or that this one lies in"
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of a line around."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file below a folder, or something that is passed over."""

    path: Path
    problem: str | None
    """Why it is passed over; None for a file to decode, a broken link among them."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Names in a folder, in order; without what systems leave there."""

    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    """To folders."""
    files: list[str] = field(default_factory=list)
    """Links to nothing among them, and pipes and devices that are called as images."""
    broken: list[str] = field(default_factory=list)
    """Links to nothing."""
    others: list[tuple[str, str]] = field(default_factory=list)
    """What is passed over, and why: hidden entries, pipes and devices."""

    @property
    def all_folders(self) -> list[str]:
        """Links to folders, too."""
        return sorted((*self.folders, *self.links))


def list_folder(folder: Path) -> Listing:
    """Look into a folder.

    Raises:
        DatasetError: If it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, _kind(entry)) for entry in entries)
    except OSError as error:
        raise _unreadable(folder, error) from error
    listing = Listing()
    for name, kind in found:
        if is_junk(name):
            continue
        if name.startswith("."):
            listing.others.append((name, HIDDEN))
        elif kind == "other" and not has_image_ending(name):
            listing.others.append((name, NO_FILE))
        else:
            {"folder": listing.folders, "link": listing.links}.get(kind, listing.files).append(name)
            if kind == "broken":
                listing.broken.append(name)
    return listing


def subfolder_names(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, of links but for circles; in no order.

    Raises:
        DatasetError: If it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if _is_folder(entry) and not is_junk(entry.name) and not entry.name.startswith(".")
            ]
    except OSError as error:
        raise _unreadable(folder, error) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if entry.is_symlink():
        return Path(entry.path).is_dir() and not leads_back(Path(entry.path))
    return entry.is_dir(follow_symlinks=False)


def _unreadable(folder: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{shown(folder)} cannot be read: {error.strerror}. Change its permissions, or move it "
        "away from the images"
    )


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        try:
            mode = entry.stat().st_mode
        except OSError:
            return "broken"
        if stat.S_ISDIR(mode):
            return "link"
        return "file" if stat.S_ISREG(mode) else "other"
    if entry.is_file(follow_symlinks=False):
        return "file"
    return "folder" if entry.is_dir(follow_symlinks=False) else "other"


def key_of(folder: Path) -> FolderKey:
    """Return what a folder is, whatever it is called.

    Raises:
        DatasetError: If it cannot be looked at.
    """
    try:
        found = folder.stat()
    except OSError as error:
        raise DatasetError(f"{shown(folder)} cannot be read: {error.strerror}") from error
    return found.st_dev, found.st_ino


def keys_above(folder: Path) -> frozenset[FolderKey]:
    """Return a folder and all that it lies in."""
    real = Path(os.path.realpath(folder))
    return frozenset(key_of(path) for path in (real, *real.parents))


def walk(folder: Path, *, above: frozenset[FolderKey]) -> Iterator[Found]:
    """Yield the files of a folder and of those in it, in order of their names.

    The folder's own tree comes first, then what its links lead to. A folder that was met before
    is not entered again, so that no image counts twice because of a link.

    Args:
        folder: Where to begin; may be a link itself.
        above: Folders that contain it, as `keys_above` returns them: a link to one is a circle.

    Raises:
        DatasetError: If a folder cannot be read.
    """
    seen = set(above)
    links: list[Path] = []
    yield from _walk_tree(folder, seen, links)
    for link in links:  # grows while it is worked off
        if leads_back(link):
            yield Found(link, CIRCLE)
        else:
            yield from _walk_tree(link, seen, links)


def _walk_tree(top: Path, seen: set[FolderKey], links: list[Path]) -> Iterator[Found]:
    pending = [top]
    while pending:
        folder = pending.pop()
        key = key_of(folder)
        if key in seen:
            yield Found(folder, SEEN)
            continue
        seen.add(key)
        listing = list_folder(folder)
        for name, problem in listing.others:
            yield Found(folder / name, problem)
        for name in listing.files:
            path = folder / name
            yield Found(path, why_no_image(path))
        links += [folder / name for name in listing.links]
        pending += [folder / name for name in reversed(listing.folders)]


def leads_back(folder: Path) -> bool:
    """Return whether a folder is a link to one that it lies in."""
    if not folder.is_symlink():
        return False
    target, parent = Path(os.path.realpath(folder)), Path(os.path.realpath(folder.parent))
    return target == parent or target in parent.parents


def contains_image(folder: Path, *, above: frozenset[FolderKey]) -> bool:
    """Return whether a file below a folder has the name or the first bytes of an image."""
    return any(
        found.problem is None and is_probably_image(found.path)
        for found in walk(folder, above=above)
    )


def is_probably_image(path: Path) -> bool:
    """Return whether a file has the name or the first bytes of an image."""
    if has_image_ending(path.name):
        return True
    try:
        with path.open("rb") as file:
            return is_image_start(file.read(HEAD_BYTES))
    except OSError:
        return False


def shown(path: Path | str) -> str:
    """Return a path as text in one line: what is not UTF-8 or moves the cursor is escaped."""
    name = path.as_posix() if isinstance(path, Path) else path
    try:
        content = name.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        content = name.encode(errors="backslashreplace")
    text = content.decode(errors="backslashreplace")
    return _UNPRINTABLE.sub(lambda char: char[0].encode("unicode_escape").decode(), text)
