"""The SQLite file of a registry: made whole or not at all, by whoever comes first.

MLflow makes its tables in seventy steps in the file itself: killed in between, the file is of no
use to anybody, and two processes that begin together break each other's. Here the file is made
under another name, by one process at a time, and renamed when it is whole. What an earlier version
left half-made is mended: a file without entries is moved aside and made anew; one with entries is
brought up to date on a copy, and kept beside it.
"""

import fcntl
import logging
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.registry.addresses import sqlite_address
from ofa_pipeline.registry.causes import advice_for_file
from ofa_pipeline.registry.schema import DatabaseFinding, DatabaseState, inspect_database

LOCK_PATIENCE_S = 1800.0
"""Longest wait for another process that writes: a registration of a thousand subnets takes two
minutes."""
USERS_PATIENCE_S = 60.0
"""Longest wait for processes that have a half-made file open: they may be making it."""
_OWNER_ALONE = 0o077
"""Permissions that a new file does not have: paths and figures are its owner's."""
_POLL_S = 0.05
_LOWEST_PRIORITY = 19

_log = logging.getLogger(__name__)


def ensure_database(path: Path) -> None:
    """See to it that a SQLite file holds MLflow's tables, whole and up to date.

    Quick when it does. Whatever else is done is said in a line of the log.

    Args:
        path: Path of the file; its folder is made where it is not there.

    Raises:
        RegistryError: If it cannot be, or if it is of another program or a newer MLflow.
    """
    with _explained(path):
        if inspect_database(path).state is DatabaseState.WHOLE:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with hold_database(path):
            _sweep(path)
            while (found := inspect_database(path)).state is not DatabaseState.WHOLE:
                _mend(path, found)


def make_in_background(path: Path) -> Callable[[], None]:
    """Begin to make a SQLite file, beside other work and at the lowest priority.

    Args:
        path: As in `ensure_database`.

    Returns:
        What waits until it is done. It raises nothing: whoever opens the file meets what is wrong.
    """

    def make() -> None:
        # Of this thread and what it starts: Linux has a priority for each thread.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        with suppress(RegistryError):
            ensure_database(path)

    thread = threading.Thread(target=make, name="make the registry", daemon=True)
    thread.start()
    return thread.join


@contextmanager
def hold_database(path: Path) -> Iterator[None]:
    """Keep the other processes of this package that would write into a SQLite file waiting.

    Raises:
        RegistryError: If another process holds it for longer than it should.
    """
    lock = path.with_name(f"{path.name}.lock")
    with os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o666), "r+") as file:
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise RegistryError(
                    f"{path} has been written by process {file.read().strip() or '?'} for "
                    f"{LOCK_PATIENCE_S / 60:.0f} minutes. Stop that process, or wait for it."
                )
            time.sleep(_POLL_S)
            file.seek(0)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        # What makes the file goes on for a moment when its parent is killed: it holds the lock.
        os.set_inheritable(file.fileno(), True)
        yield


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: SQLite's own have to do
    return True


def _mend(path: Path, found: DatabaseFinding) -> None:
    if found.state is DatabaseState.ABSENT:
        _make(path)
        return
    _wait_for_users(path)
    again = inspect_database(path)
    if again != found:
        return  # whoever had it open has gone on with it
    if found.has_entries:
        _upgrade(path, found)
        return
    aside = _free_name(path, "broken")
    path.rename(aside)
    _set_sidecars_aside(path, aside)
    _log.warning(
        "%s was only half made and held no entries: it is kept as %s and made anew",
        path,
        aside.name,
    )


def _make(path: Path) -> None:
    draft = _draft(path)
    _run_migration(draft)
    if not path.exists():
        _set_sidecars_aside(path, _free_name(path, "broken"))
    # Never over a file that another program has made meanwhile.
    try:
        os.link(draft, path)
    except FileExistsError:
        _log.warning("%s was made by another program meanwhile", path)
    except OSError:  # a file system without links
        if not path.exists():
            draft.rename(path)
    draft.unlink(missing_ok=True)
    _flush_folder(path.parent)


def _upgrade(path: Path, found: DatabaseFinding) -> None:
    """Bring a file with entries up to date on a copy, keep the file, and put the copy in place."""
    draft = _draft(path)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(draft)) as copy:
        source.backup(copy)
        _drop_torn_tables(copy)
    shutil.copymode(path, draft)  # it may be shared on purpose
    _run_migration(draft)
    kept = _free_name(path, "before" if found.state is DatabaseState.OLDER else "broken")
    try:
        os.link(path, kept)
    except OSError:  # a file system without links
        shutil.copyfile(path, kept)
    _set_sidecars_aside(path, kept)
    draft.replace(path)
    _flush_folder(path.parent)
    _log.warning(
        "%s was %s and is brought up to date, as it was it is kept as %s",
        path,
        f"of an older MLflow (schema {found.revision})"
        if found.state is DatabaseState.OLDER
        else "only half brought up to date",
        kept.name,
    )


def _set_sidecars_aside(path: Path, aside: Path) -> None:
    """Let the journal of a file go where the file goes: to another file it would do harm."""
    for ending in ("-journal", "-wal", "-shm"):
        sidecar = path.with_name(f"{path.name}{ending}")
        if sidecar.exists():
            sidecar.rename(aside.with_name(f"{aside.name}{ending}"))


def _drop_torn_tables(connection: sqlite3.Connection) -> None:
    """Drop the tables that a step of a migration had begun to fill: it fills them again."""
    torn = [
        row[0]
        for row in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 13) = ?",
            ("_alembic_tmp_",),
        )
    ]
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    for name in torn:
        original = name.removeprefix("_alembic_tmp_")
        if original in names:
            connection.execute(f'DROP TABLE "{name}"')
        else:  # dropped already, and its copy not yet renamed
            connection.execute(f'ALTER TABLE "{name}" RENAME TO "{original}"')
    connection.commit()


def _run_migration(draft: Path) -> None:
    words = [sys.executable, "-P", "-m", "ofa_pipeline.registry.migrate", sqlite_address(draft)]
    finished = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        close_fds=False,
        stdin=subprocess.DEVNULL,
        umask=_OWNER_ALONE,
    )
    if finished.returncode:
        lines = finished.stderr.strip().splitlines() or ["no message"]
        draft.unlink(missing_ok=True)
        raise RegistryError(
            f"MLflow's tables could not be made in {draft.parent}: "
            f"{mask_secrets(lines[-1])[:300]}. {advice_for_file(lines[-1])}"
        )
    with draft.open("rb+") as file:
        os.fsync(file.fileno())


def _draft(path: Path) -> Path:
    return path.with_name(f"{path.name}.making-{secrets.token_hex(4)}")


def _sweep(path: Path) -> None:
    """Remove the drafts of killed makers: whoever holds the lock is the only maker."""
    for draft in path.parent.iterdir():
        if draft.name.startswith(f"{path.name}.making-"):
            draft.unlink(missing_ok=True)


def _free_name(path: Path, word: str) -> Path:
    number = 1
    while (name := path.with_name(f"{path.name}.{word}-{number}")).exists():
        number += 1
    return name


def _wait_for_users(path: Path) -> None:
    """Wait until no other process has the file open; one may be in the middle of making it.

    Raises:
        RegistryError: If one keeps it open.
    """
    deadline = time.monotonic() + USERS_PATIENCE_S
    while users := users_of(path):
        if time.monotonic() > deadline:
            raise RegistryError(
                f"{path} is not up to date and must be mended, but process {users[0]} has it open. "
                f"Stop that process and run again: kill {users[0]}"
            )
        time.sleep(_POLL_S)


def users_of(path: Path) -> list[int]:
    """Return the other processes of this machine that have a file open, as far as we may see."""
    there = path.stat()
    users = []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        pid = int(folder.parent.name)
        if pid == os.getpid():
            continue
        with suppress(OSError):
            for link in folder.iterdir():
                with suppress(OSError):
                    found = link.stat()
                    if (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino):
                        users.append(pid)
                        break
    return users


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise RegistryError(
            f"the registry {path} must be a SQLite file that can be written, but: {error}. "
            f"{advice_for_file(error)}"
        ) from error
