"""Temporary folders that vanish with their owner: the next one sweeps what a killed one left.

An owner holds a `flock` on its folder, which the kernel gives back when it dies, however it dies:
a folder that can be locked belongs to nobody. That holds among containers that share a temporary
folder, too, where process ids say nothing.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ofa_pipeline.errors import OfaPipelineError

_PREFIX = "ofa-pipeline-"
_TRIES = 100


@contextmanager
def temporary_folder(purpose: str, *, parent: Path | None = None) -> Iterator[Path]:
    """Make a folder for the body alone, and remove it afterwards.

    Before, remove the folders for the same purpose whose owners were killed.

    Args:
        purpose: A word that tells a reader of the folder's name what it is for.
        parent: Where it is made; by default `temporary_root`.

    Raises:
        OfaPipelineError: If it cannot be made.
    """
    parent = parent or temporary_root()
    prefix = f"{_PREFIX}{purpose}-{os.getuid()}-"
    sweep(parent, prefix=prefix)
    folder, handle = _make(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def temporary_root() -> Path:
    """Return the folder for temporary files: ``TMPDIR``, else the system's.

    Raises:
        OfaPipelineError: If no folder can be written.
    """
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise OfaPipelineError(
            f"a folder for temporary files must be writable, but none is: {error}. "
            "Set TMPDIR to one that is."
        ) from error


def sweep(parent: Path, *, prefix: str) -> tuple[Path, ...]:
    """Remove our folders of owners that are gone.

    Args:
        parent: Where they lie.
        prefix: With which their names start.

    Returns:
        What was removed.
    """
    try:
        found = sorted(parent.glob(f"{prefix}*"))
    except OSError:
        return ()
    return tuple(path for path in found if _remove_if_abandoned(path))


def _remove_if_abandoned(folder: Path) -> bool:
    """Remove a folder that is ours and that nobody holds; tell whether that was so."""
    try:
        handle = _open(folder)
    except OSError:
        return False  # gone, a link or somebody else's
    try:
        if os.fstat(handle).st_uid != os.getuid() or not _lock(handle):
            return False
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return False  # a file system without locks: nobody can tell whether it is held
    finally:
        os.close(handle)
    return not folder.exists()


def _make(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder and hold it: another one, when a sweeper was faster than our lock."""
    for _ in range(_TRIES):
        try:
            folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        except OSError as error:
            raise OfaPipelineError(
                f"a temporary folder must be made in {parent}, but cannot: {error.strerror}. "
                "Free space there, or set TMPDIR to another folder."
            ) from error
        handle = _hold(folder)
        if handle is not None:
            return folder, handle
    raise OfaPipelineError(
        f"a temporary folder in {parent} must stay, but was taken away {_TRIES} times. "
        "Set TMPDIR to a folder that no other program cleans up."
    )


def _hold(folder: Path) -> int | None:
    """Lock a folder that was just made; None when a sweeper had it first.

    Where the file system has no locks the folder is used without one, and never swept.
    """
    try:
        handle = _open(folder)
    except FileNotFoundError:
        return None
    try:
        is_held = _lock(handle)
    except OSError:
        is_held = True
    if is_held and folder.exists():
        return handle
    os.close(handle)
    return None


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
