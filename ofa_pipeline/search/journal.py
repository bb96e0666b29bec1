"""A journal file of Optuna's, mended after a kill or damage, before Optuna reads it."""

import json
from pathlib import Path

from optuna.exceptions import OptunaError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ofa_pipeline.artifacts import write_bytes
from ofa_pipeline.progress import Reporter


def open_journal(path: Path, reporter: Reporter) -> JournalStorage:
    """Open a journal that one process alone writes, or begin one.

    What follows a damaged line builds on it and is dropped with it; a line that was cut off by a
    kill is only the last. Optuna would refuse such a file, or write on behind the torn line.

    Args:
        path: Path of the file.
        reporter: Told of damage; the file is then kept beside as it was found.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink()  # of a process that was killed: Optuna would wait for it
    content = path.read_bytes() if path.exists() else b""
    good = _good_lines(content)
    if len(good) < len(content):
        _set_aside(path, content, good, reporter)
    try:
        return _read(path)
    except (AssertionError, ArithmeticError, LookupError, OptunaError, TypeError, ValueError):
        # Each line is an operation, but they make no sense together.
        _set_aside(path, content, b"", reporter)
        return _read(path)


def _read(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path)))


def _good_lines(content: bytes) -> bytes:
    """Return everything up to the first line that is no operation of a journal."""
    end = 0
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n") or not _is_operation(line):
            break
        end += len(line)
    return content[:end]


def _is_operation(line: bytes) -> bool:
    try:
        operation = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(operation, dict) and {"op_code", "worker_id"} <= operation.keys()


def _set_aside(path: Path, content: bytes, good: bytes, reporter: Reporter) -> None:
    lost = content[len(good) :]
    if b"\n" in lost:
        aside = path.with_name(f"{path.name}.bad")
        write_bytes(aside, content)
        reporter.message(
            f"{lost.count(bytes([10]))} lines of {path} are damaged or follow a damaged one: what "
            f"they say is measured again (the file as it was: {aside})"
        )
    write_bytes(path, good)
