"""A bundle is plain files side by side: nothing in it leads out of it, and nothing hides."""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.errors import RegistryError, shown

_CACHE = "__pycache__"
_ELSEWHERE = re.compile(r"[/\\:\x00-\x1f\x7f]")
"""Separators and drives of any system, and control characters."""


def is_plain_name(name: str) -> bool:
    """Whether a text names a file in the same folder, on every system."""
    return bool(name) and name not in (".", "..") and not _ELSEWHERE.search(name)


def check_names(folder: Path, *, source: str) -> None:
    """Check that the documents of a bundle name files beside them, whoever wrote them.

    Args:
        folder: The bundle; what cannot be read names nothing here.
        source: Whose it is, for the message.

    Raises:
        RegistryError: If one names something else: `../`, an absolute path, a drive.
    """
    for document, name in _named(folder):
        if not is_plain_name(name):
            raise RegistryError(
                f"{source}: {document} must name files of the bundle, found {shown(name)}. Do not "
                "use it: fetch the bundle again, or have it built again."
            )


def _named(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each document with every name of a file in it."""
    card, subnet = (_object(folder / name) for name in (Layout.CARD, Layout.SUBNET))
    for name in _dict(card, "files"):
        yield Layout.CARD, name
    measured = [item for item in _dict(card, "latency").values() if isinstance(item, dict)]
    for document, part, key in (
        *((Layout.CARD, item, "file") for item in measured),
        (Layout.CARD, _dict(card, "accuracy"), "evaluated_file"),
        (Layout.SUBNET, _dict(subnet, "runs"), "file"),
    ):
        if isinstance(part.get(key), str):
            yield document, part[key]


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _dict(values: dict[str, Any], key: str) -> dict[str, Any]:
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def plain_files(folder: Path, *, source: str, has_cache: bool = False) -> dict[str, Path]:
    """Return the files of a bundle by name, in order.

    Args:
        folder: The bundle.
        source: Whose it is, for the message.
        has_cache: Whether Python's cache may lie beside them, as where its code was imported.

    Raises:
        RegistryError: If it holds anything else: a link, a folder, a name that leads elsewhere.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        mode = path.lstat().st_mode
        if has_cache and path.name == _CACHE and stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode) or not is_plain_name(path.name):
            kind = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "other"
            raise RegistryError(
                f"{source}: a bundle must hold plain files and nothing else, found "
                f"{shown(path.name)} ({kind}). Do not use it: fetch or build the bundle again."
            )
        found[path.name] = path
    return found
