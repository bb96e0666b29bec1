"""A real MLflow server on this machine, for those who share a registry."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ofa_pipeline.registry.addresses import sqlite_address
from ofa_pipeline.registry.database import ensure_database

TIMEOUT_S = 180.0


@contextmanager
def mlflow_server(
    folder: Path, *, workers: int = 1, store: str | None = None, port: int | None = None
) -> Iterator[int]:
    """Run a server until the body ends, and kill it; gives its port.

    Args:
        folder: For its database, its files and its log; of an earlier server, or made.
        workers: Processes that answer.
        store: Address of another database.
        port: Where it listens; None: anywhere.
    """
    folder.mkdir(exist_ok=True)
    if store is None:
        ensure_database(folder / "mlflow.db")
    port = port or free_port()
    words = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--workers", str(workers)]
    words += ["--backend-store-uri", store or sqlite_address(folder / "mlflow.db")]
    words += ["--artifacts-destination", (folder / "files").as_uri()]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        _wait_for(port, folder / "log")
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the MLflow server does not answer: {log.read_text()[-2000:]}")
