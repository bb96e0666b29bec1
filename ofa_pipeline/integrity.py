"""Nothing is computed on rotten files: what a stage reads is what was written.

A file's SHA-256 is kept in ``scratch/digests.json`` under everything that the kernel changes when
somebody writes to it. The time of the last change of the inode (ctime) is part of that: it
cannot be set back, unlike the time of the last change of the content.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ofa_pipeline.artifacts import (
    Layout,
    digest_file,
    digest_json,
    verify_artifact,
    verify_file,
    write_bytes,
)
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError

_CTIME = -1
_YOUNG_NS = 2 * 10**9
"""Clocks of file systems are coarse: a file this young may change again within the same tick."""


class DigestCache:
    """SHA-256 of files, each read once while it is not written to.

    Several processes may share one: it is replaced whole, and what one of them forgets of
    another is read once more.
    """

    def __init__(self, path: Path) -> None:
        """Load what is known; a cache that is damaged is as good as none."""
        self._path = path
        self._known = _load_cache(path)
        self._added: dict[str, list[str | int]] = {}

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file in hex."""
        key, before = str(path.resolve()), _state_of(path)
        entry = self._known.get(key) or self._added.get(key)
        if entry is not None and entry[1:] == before:
            return str(entry[0])
        found = digest_file(path)
        is_settled = time.time_ns() - before[_CTIME] >= _YOUNG_NS
        if is_settled and _state_of(path) == before:
            self._added[key] = [found, *before]
        return found

    def save(self) -> None:
        """Add what was read to the file; a disk that is full costs reading again, no more."""
        if not self._added:
            return
        known = {**_load_cache(self._path), **self._added}
        known = {key: entry for key, entry in known.items() if os.path.exists(key)}  # noqa: PTH110 - a string
        content = json.dumps({"digest": digest_json(known), "files": known}).encode()
        try:
            write_bytes(self._path, content)
        except OSError:
            return
        self._known, self._added = known, {}


def digest_cache(root: Path) -> DigestCache:
    """Return the cache of a workspace."""
    return DigestCache(root / "scratch" / "digests.json")


def verify_inputs(paths: Iterable[Path], *, root: Path) -> None:
    """Check what a stage is about to read against the manifests; what is missing it will say.

    Args:
        paths: Artifact folders, or files in them.
        root: The workspace.

    Raises:
        MissingArtifactError: If an artifact lacks one of its files.
        ManifestMismatchError: If a manifest or a file is not as it was written.
    """
    cache = digest_cache(root)
    try:
        for path in paths:
            if (path / Layout.MANIFEST).is_file():
                verify_artifact(path, digest=cache.digest)
            elif path.is_file():
                verify_file(path, digest=cache.digest)
    finally:
        cache.save()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a full check found of one artifact."""

    name: str
    """Relative to the workspace."""
    num_files: int
    num_bytes: int
    fault: str = ""
    """Empty where everything is as it was written."""


def verify_workspace(root: Path) -> Iterator[Verified]:
    """Read every file of every artifact again, and yield what was found of each.

    No digest is taken from the cache.
    """
    layout = Layout(root)
    for folder in _artifacts_below(layout.artifacts):
        files = [path for path in folder.rglob("*") if path.is_file()]
        fault = ""
        try:
            verify_artifact(folder)
        except (ManifestMismatchError, MissingArtifactError) as error:
            fault = str(error)
        except OSError as error:
            fault = f"{error.filename or folder} cannot be read: {error.strerror or error}"
        yield Verified(
            name=layout.relative(folder),
            num_files=len(files),
            num_bytes=sum(path.stat().st_size for path in files),
            fault=fault,
        )


def _artifacts_below(folder: Path) -> Iterator[Path]:
    """Yield folders with a manifest, and those that have files but none where it should be."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path.name.startswith("."):
            continue
        if (path / Layout.MANIFEST).exists() or any(
            item.is_file() and not item.name.startswith(".") for item in path.iterdir()
        ):
            yield path
        else:
            yield from _artifacts_below(path)


def _state_of(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def _load_cache(path: Path) -> dict[str, list[str | int]]:
    try:
        content = json.loads(path.read_bytes())
        known: dict[str, list[str | int]] = content["files"]
        is_whole = content["digest"] == digest_json(known)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return known if is_whole else {}
