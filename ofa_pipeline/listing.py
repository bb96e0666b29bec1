"""What files a source of images consists of: names, sizes, times; none of them is read.

Images that change under an unchanged path are seen by this. Names are bytes throughout: a file
name need not be UTF-8. The files of a listing come in the order of their names, folder by
folder, so that two listings are compared without holding either.
"""

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ofa_pipeline.artifacts import Layout, Manifest, verify_artifact
from ofa_pipeline.errors import DatasetError, ManifestMismatchError, MissingArtifactError
from ofa_pipeline.progress import Reporter

LISTING_NAME = "files.gz"
"""In the artifact of the stage: records of size, time and name, each ended by a zero byte."""

_SHOWN = 2
"""Examples of each kind of change."""
IGNORED = frozenset(
    {
        *(b"thumbs.db", b"ehthumbs.db", b"desktop.ini", b"icon\r", b"__macosx", b"@eadir"),
        *(b"$recycle.bin", b"system volume information", b"lost+found"),
    }
)
"""What systems and tools leave, in lower case; hidden files besides. The sources pass over the
same names, in ``data/sources/junk.py``, which this module does not import: it is to be light."""
_NOTHING = -1
"""Size of what is there by name only, such as a link that leads nowhere."""


class ListedFile(NamedTuple):
    """One file of a source."""

    name: bytes
    """Relative to the source, with slashes."""
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFiles:
    """What there is to list of a source."""

    folder: Path | None
    """A folder, or the only file; None where there are no files of the user."""
    note: str = ""
    """Why there are no files."""


@dataclass(slots=True, kw_only=True)
class Listing:
    """What a listing holds, in short."""

    num_files: int = 0
    num_bytes: int = 0
    digest: str = ""
    """SHA-256 of the records."""


@dataclass(slots=True)
class Difference:
    """What differs between two listings: how many files, and the first of each kind."""

    num_added: int = 0
    num_removed: int = 0
    num_changed: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def note(self, kind: str, name: bytes) -> None:
        """Count a file."""
        if kind == "added":
            self.num_added += 1
        elif kind == "removed":
            self.num_removed += 1
        else:
            self.num_changed += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < _SHOWN:
            examples.append(shown(name))

    def __str__(self) -> str:
        """Return a line for people; empty where nothing differs."""
        counts = {"added": self.num_added, "removed": self.num_removed, "changed": self.num_changed}
        parts = []
        for kind, count in counts.items():
            if count:
                names = ", ".join(self.examples[kind]) + (", ..." if count > _SHOWN else "")
                parts.append(f"{count:,} {kind} ({names})")
        return ", ".join(parts)


def files_of_source(spec: str, *, base: Path) -> SourceFiles:
    """Return what there is to list.

    Args:
        spec: As `ofa_pipeline.data.sources.open_source` takes it.
        base: What a relative path starts from.
    """
    kind, _, rest = spec.partition(":")
    if kind == "torchvision":
        note = "torchvision checks its own files, none is listed"
        return SourceFiles(folder=None, note=note)
    if not rest:
        note = "the images come with the package, none is listed"
        return SourceFiles(folder=None, note=note)
    return SourceFiles(folder=base / Path(rest).expanduser())


def list_files(root: Path) -> Iterator[ListedFile]:
    """Yield the files of a folder and of those in it, sorted by name, folder by folder.

    Links are followed, except those to a folder that they lie in. Hidden files and what file
    browsers leave are no part of a source. A file yields itself, under no name.

    Raises:
        DatasetError: If a folder cannot be read, or nothing is found.
    """
    path = os.fsencode(root)
    try:
        state = os.stat(path)  # noqa: PTH116 - bytes
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISDIR(state.st_mode):
        yield ListedFile(b"", state.st_size, state.st_mtime_ns)
        return
    yield from _walk(path, b"", ((state.st_dev, state.st_ino),))


def write_listing(path: Path, files: Iterator[ListedFile]) -> Listing:
    """Write a listing: the same files give the same bytes.

    Returns:
        How much it holds.
    """
    listing = Listing()
    digest = hashlib.sha256()
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed:
        for file in files:
            record = b"%d %d %b\0" % (file.size, file.mtime_ns, file.name)
            digest.update(record)
            packed.write(record)
            listing.num_files += 1
            listing.num_bytes += max(file.size, 0)
    listing.digest = digest.hexdigest()
    return listing


def read_listing(path: Path) -> Iterator[ListedFile]:
    """Yield the files of a listing that `write_listing` wrote.

    Raises:
        ManifestMismatchError: If it is damaged.
    """
    try:
        with gzip.open(path, "rb") as file:
            for record in _records(file):
                size, mtime_ns, name = record.split(b" ", 2)
                yield ListedFile(name, int(size), int(mtime_ns))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ManifestMismatchError(
            f"{path} must be a listing of files, but cannot be read: {error}. Remove it."
        ) from error


def compare(before: Iterator[ListedFile], after: Iterator[ListedFile]) -> Difference:
    """Return what differs between two listings, each in the order of `list_files`."""
    difference = Difference()
    old, new = next(before, None), next(after, None)
    while old is not None or new is not None:
        if new is None or (old is not None and _key(old) < _key(new)):
            assert old is not None
            difference.note("removed", old.name)
            old = next(before, None)
        elif old is None or _key(new) < _key(old):
            difference.note("added", new.name)
            new = next(after, None)
        else:
            if old != new:
                difference.note("changed", new.name)
            old, new = next(before, None), next(after, None)
    return difference


def shown(name: bytes) -> str:
    """Return a file name as text, with escapes where it is not UTF-8."""
    return name.decode(errors="backslashreplace")


def _walk(folder: bytes, prefix: bytes, above: tuple[tuple[int, int], ...]) -> Iterator[ListedFile]:
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if _is_listed(entry.name)), key=_entry_name)
    except OSError as error:
        raise _unreadable(folder, error) from error
    for entry in entries:
        name = prefix + entry.name
        state = _state_of(entry)
        if state is None:
            yield ListedFile(name, _NOTHING, 0)
        elif not stat.S_ISDIR(state.st_mode):
            yield ListedFile(name, state.st_size, state.st_mtime_ns)
        elif (state.st_dev, state.st_ino) not in above:
            below = (*above, (state.st_dev, state.st_ino))
            yield from _walk(entry.path, name + b"/", below)


def _entry_name(entry: "os.DirEntry[bytes]") -> bytes:
    return entry.name


def _is_listed(name: bytes) -> bool:
    return not name.startswith(b".") and name.lower() not in IGNORED


def _state_of(entry: "os.DirEntry[bytes]") -> os.stat_result | None:
    """Return the state of what a name leads to; None where it leads nowhere."""
    with suppress(OSError):
        return entry.stat()
    return None


def _unreadable(path: bytes, error: OSError) -> DatasetError:
    return DatasetError(
        f"the source must be readable, but {shown(path)} is not: {error.strerror}. "
        "Check dataset.source, and the permissions"
    )


def _records(file: gzip.GzipFile) -> Iterator[bytes]:
    rest = b""
    for block in iter(lambda: file.read(1 << 20), b""):
        *whole, rest = (rest + block).split(b"\0")
        yield from whole
    if rest:
        raise ValueError("its end is missing")


def _key(file: ListedFile) -> list[bytes]:
    return file.name.split(b"/")


def last_listing(folder: Path, params: object, reporter: Reporter) -> Manifest | None:
    """Return the manifest of the last listing of the same source; None the first time.

    Args:
        folder: The artifact of the stage list_source.
        params: Params of the stage; those of another source differ.
        reporter: Told of a damaged one.
    """
    if not (folder / Layout.MANIFEST).exists():
        return None
    try:
        manifest = verify_artifact(folder)
    except (ManifestMismatchError, MissingArtifactError):
        reporter.message(f"the last listing in {folder} is damaged: nothing to compare with")
        return None
    is_same = manifest.params == params and LISTING_NAME in manifest.files
    return manifest if is_same else None


def describe_listing(listing: Listing, path: Path, before: Manifest | None, folder: Path) -> str:
    """Return how many files there are, and what differs from the last listing.

    Args:
        listing: What is listed now.
        path: Its file.
        before: Manifest of the last listing, see `last_listing`.
        folder: Folder of the last listing.
    """
    count = f"{listing.num_files:,} file{'s' * (listing.num_files != 1)}"
    if before is None:
        return count
    if before.summary["listing_digest"] == listing.digest:
        return f"{count}, unchanged"
    return f"{count}: {compare(read_listing(folder / LISTING_NAME), read_listing(path))}"
