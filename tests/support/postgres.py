"""A real PostgreSQL on this machine, of Debian's package, for those who share a registry."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.mlflow_server import free_port

PROGRAMS = "usr/lib/postgresql/*/bin"
"""Where Debian puts them, below the root."""
OWNER = "postgres"
"""Debian's user: PostgreSQL refuses to run as root."""


DATABASES = ("mlflow", "prefect")
"""Empty ones."""


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL until the body ends; gives its address, to which `DATABASES` are added.

    Skips the test, with the reason, where PostgreSQL is not installed. Its files lie in a folder
    of their own: those of pytest let no other user through.
    """
    programs = _programs()
    owner = OWNER if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="ofa-postgres-") as name:
        if owner is not None:
            os.chown(name, pwd.getpwnam(owner).pw_uid, pwd.getpwnam(owner).pw_gid)
        yield from _running(programs, Path(name), owner)


def _running(programs: Path, folder: Path, owner: str | None) -> Iterator[str]:
    port = free_port()

    def run(*words: str) -> None:
        done = subprocess.run(
            [str(programs / words[0]), *words[1:]],
            user=owner,
            capture_output=True,
            text=True,
            check=False,
        )
        log = folder / "log"
        said = log.read_text() if log.exists() else ""
        assert done.returncode == 0, done.stdout + done.stderr + said

    data = str(folder / "data")
    run("initdb", "--pgdata", data, "--username", "ofa", "--auth", "trust", "--no-sync")
    settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = ["pg_ctl", "--pgdata", data, "--silent", "--wait"]
    run(*control, "--log", str(folder / "log"), "--options", settings, "start")
    try:
        for name in DATABASES:
            run("createdb", "--host", "127.0.0.1", "--port", str(port), "--username", "ofa", name)
        yield f"postgresql://ofa:secret@127.0.0.1:{port}/"
    finally:
        run(*control, "--mode", "immediate", "stop")


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, such as ``pg_dump``."""
    return str(_programs() / name)


def _programs() -> Path:
    """Return the folder of PostgreSQL's programs, of the newest version."""
    beside = shutil.which("initdb")
    found = sorted(Path("/").glob(PROGRAMS), key=lambda folder: int(folder.parent.name))
    if not found and beside is None:
        pytest.skip("PostgreSQL is not installed (the package postgresql of Debian)")
    return found[-1] if found else Path(str(beside)).resolve().parent
