"""The manifest of a folder that is measured elsewhere, checked to be as it was exported.

It goes with the folder, so it needs Python 3.9 or newer and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_COPY = "Copy the whole folder again."


def read_manifest(folder: Path, known_format: int) -> dict[str, Any]:
    """Return what a manifest says.

    Args:
        folder: What was exported.
        known_format: The format that is understood.

    Raises:
        ValueError: If it, or a network of it, is missing, of another format, or was changed.
    """
    path = folder / "manifest.json"
    manifest = _values(path)
    if manifest.get("format") != known_format:
        raise ValueError(
            f"{path.name} must be of format {known_format}, found {manifest.get('format')!r}: it "
            "was exported by another version. Export the folder again."
        )
    rest = {key: value for key, value in manifest.items() if key not in ("format", "id")}
    content = json.dumps(rest, sort_keys=True).encode()
    if hashlib.sha256(content).hexdigest() != manifest.get("id"):
        raise ValueError(
            f"{path} is not as it was exported: its digest is not that of its content. {_COPY} "
            "Other settings are those of another export: change them in params.yaml."
        )
    for network in [manifest["reference"], *manifest["networks"]]:
        file = folder / network["file"]
        if not file.is_file():
            raise ValueError(f"{file} is missing. {_COPY}")
        if hashlib.sha256(file.read_bytes()).hexdigest() != network["sha256"]:
            raise ValueError(f"{file} is not as it was exported. {_COPY}")
    return manifest


def _values(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path} is missing. {_COPY}")
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no whole JSON: {error}. {_COPY}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a mapping of names to values. {_COPY}")  # noqa: TRY004
    return values
