"""A bundle is plain files side by side: nothing in it leads out of it, and nothing hides."""

import re
import stat
from pathlib import Path

from ofa_pipeline.errors import RegistryError, shown

_CACHE = "__pycache__"
_ELSEWHERE = re.compile(r"[/\\:\x00-\x1f\x7f]")
"""Separators and drives of any system, and control characters."""


def is_plain_name(name: str) -> bool:
    """Whether a text names a file in the same folder, on every system."""
    return bool(name) and name not in (".", "..") and not _ELSEWHERE.search(name)


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
