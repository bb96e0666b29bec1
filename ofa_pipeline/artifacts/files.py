"""Files that are written whole or not at all, and their digests."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_json(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write readable JSON with sorted keys, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have errors of the system name what is written: a full disk does not say which."""
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:
            error.filename = str(path)
        raise


def write_bytes(path: Path, content: bytes | bytearray) -> None:
    """Write a file by renaming a finished temporary one beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with naming(path), os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path, *, made_by: str) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Read a JSON file that a stage wrote.

    Args:
        path: The file.
        made_by: The command that produces it, for the error message.

    Raises:
        MissingArtifactError: If the file is not there.
        ManifestMismatchError: If it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingArtifactError(f"{path} is missing. Produce it with: {made_by}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestMismatchError(
            f"{path} is not valid JSON ({error}). Produce it again with: {made_by}"
        ) from error
