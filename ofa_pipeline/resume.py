"""Notes of an unfinished stage: what a killed run has measured, one checked line each."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import naming, write_bytes
from ofa_pipeline.progress import SILENT, Reporter


class ResumeLog:
    """Rows by key in a file of JSON lines; a process that is killed loses at most one.

    Every line ends in a digest of itself. A damaged one is left out, and so measured again; the
    file is kept beside as it was found.
    """

    def __init__(self, path: Path, *, reporter: Reporter = SILENT) -> None:
        """Read what an earlier process noted, and tell of what is damaged."""
        self._path = path
        self.rows: dict[str, dict[str, Any]] = {}
        content = path.read_bytes() if path.exists() else b""
        *lines, torn = content.split(b"\n")
        good = []
        for line in lines:
            noted = _read(line)
            if noted is not None:
                self.rows[noted[0]] = noted[1]
                good.append(line + b"\n")
        num_bad = len(lines) - len(good)
        if num_bad:
            aside = path.with_name(f"{path.name}.bad")
            write_bytes(aside, content)
            reporter.message(
                f"{num_bad} of {len(lines)} notes in {path} are damaged: they are measured again "
                f"(the file as it was: {aside})"
            )
        if num_bad or torn:  # so that a torn last line does not swallow the next one
            write_bytes(path, b"".join(good))
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, key: str, row: dict[str, Any]) -> None:
        """Note a row."""
        self.rows[key] = row
        with naming(self._path), self._path.open("ab") as file:
            file.write(_line(key, row))


def _line(key: str, row: dict[str, Any]) -> bytes:
    return (json.dumps([key, row, _digest(key, row)]) + "\n").encode()


def _read(line: bytes) -> tuple[str, dict[str, Any]] | None:
    try:
        key, row, *digest = json.loads(line)  # earlier versions wrote no digest
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(key, str) or not isinstance(row, dict):
        return None
    if digest and digest != [_digest(key, row)]:
        return None
    return key, row


def _digest(key: str, row: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([key, row]).encode()).hexdigest()[:16]
