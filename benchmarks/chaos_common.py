"""What the faults of `chaos.py` share: results, trials, and processes that write and are killed."""

import contextlib
import multiprocessing
import os
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from ofa_pipeline.registry import open_registry
from ofa_pipeline.registry.server import quiet_mlflow
from tests.support.mlflow_server import mlflow_server
from tests.support.registry_writer import count_registered, register_numbers

ROOT = Path(__file__).resolve().parent.parent
SUBNETS_A_WRITER = 4
URI_VARIABLE = "MLFLOW_TRACKING_URI"
LONGEST_S = 300.0
"""What takes longer than this hangs: it is killed, and was not survived."""
_PRELOADED = ["mlflow.pyfunc", "tests.support.registry_writer", "tests.support.train_until_killed"]


@dataclass
class Result:
    """One line of the benchmark."""

    fault: str
    tried: int = 0
    survived: int = 0
    duplicates: int = 0
    missing: int = 0
    digests_equal: bool | None = None
    """None where no artifacts are made."""

    @property
    def is_well(self) -> bool:
        """Whether every try was survived, with nothing lost, doubled or changed."""
        is_whole = self.survived == self.tried > 0 and not self.duplicates + self.missing
        return is_whole and self.digests_equal is not False

    def count(self, workspace: Path, numbers: range, *, is_well: bool = True) -> None:
        """Look into a registry after a try."""
        found = count_registered(open_registry(workspace), numbers)
        self.tried += 1
        self.duplicates += found.duplicates
        self.missing += found.missing
        whole = not (found.duplicates or found.missing or found.num_running)
        self.survived += is_well and whole


@dataclass(frozen=True)
class Trial:
    """What every fault gets."""

    folder: Path
    kills: int
    writers: int
    random: random.Random
    undisturbed: Callable[[], "tuple[Path, float]"]
    """Gives a workspace whose run nobody disturbed, and how many seconds that took."""

    @property
    def bundle(self) -> Path:
        """A bundle to register."""
        return self.folder / "bundle"

    def workspace(self, name: str) -> Path:
        """Make an empty folder for a registry."""
        path = self.folder / name
        path.mkdir()
        return path


# ---- processes ---------------------------------------------------------------------------------


def start_process(
    work: Callable[..., None], *arguments: object
) -> "tuple[BaseProcess, Connection]":
    """Start a process for ``work(pipe, *arguments)``, with the imports done; give our pipe end.

    It is forked from a server that did nothing but import, so it is as fresh as a new one.
    """
    _start_server()
    ours, theirs = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=work, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _start_server() -> None:
    """Start the server of processes, once; it finds our modules through its environment."""
    quiet_mlflow()
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    try:
        multiprocessing.set_forkserver_preload(_PRELOADED)
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def finish(process: BaseProcess) -> bool:
    """Wait for a process; its traceback is on stderr where it failed."""
    process.join(LONGEST_S)
    if process.exitcode is None:
        process.kill()
        process.join()
        sys.stderr.write(f"process {process.pid} was killed after {LONGEST_S:.0f} s\n")
    elif process.exitcode:
        sys.stderr.write(f"process {process.pid} ended with {process.exitcode}\n")
    return process.exitcode == 0


def kill(process: BaseProcess) -> None:
    """Send SIGKILL, and wait until it is gone."""
    process.kill()
    process.join()


# ---- writers -----------------------------------------------------------------------------------


def _write(pipe: Connection, workspace: Path, bundle: Path, numbers: range, uri: str) -> None:
    quiet_mlflow()
    warnings.simplefilter("ignore")
    os.environ.pop(URI_VARIABLE, None)
    if uri:
        os.environ[URI_VARIABLE] = uri
    pipe.send("ready")
    register_numbers(workspace, bundle, numbers)


def start_writer(trial: Trial, workspace: Path, numbers: range) -> BaseProcess:
    """Start a process that registers, and wait until it begins."""
    uri = os.environ.get(URI_VARIABLE, "")
    process, pipe = start_process(_write, workspace, trial.bundle, numbers, uri)
    with contextlib.suppress(EOFError):
        pipe.recv()
    return process


def write(trial: Trial, workspace: Path, numbers: range) -> bool:
    """Register in a process of its own, undisturbed."""
    return finish(start_writer(trial, workspace, numbers))


def kill_writer(trial: Trial, workspace: Path, numbers: range, *, longest_s: float) -> None:
    """Start a writer and kill it at a random instant of its work."""
    process = start_writer(trial, workspace, numbers)
    time.sleep(trial.random.uniform(0, longest_s))
    kill(process)


def duration_of_work(trial: Trial, workspace: Path, numbers: range) -> float:
    """Return the seconds that a writer works, from when everything is imported."""
    process = start_writer(trial, workspace, numbers)
    start = time.monotonic()
    if not finish(process):
        raise SystemExit("a writer fails undisturbed")
    return time.monotonic() - start


def write_overlapping(trial: Trial, workspace: Path, result: Result) -> None:
    """Have all writers register sets of which each shares most with the next, at once."""
    processes = [
        start_writer(trial, workspace, range(index, index + SUBNETS_A_WRITER))
        for index in range(trial.writers)
    ]
    ended_well = [finish(process) for process in processes]  # all, even after one that failed
    result.count(workspace, range(trial.writers + SUBNETS_A_WRITER - 1), is_well=all(ended_well))


@contextmanager
def registry_on_a_server(folder: Path) -> Iterator[None]:
    """Run a real MLflow server and name it in the environment."""
    with mlflow_server(folder, workers=2) as port:
        os.environ[URI_VARIABLE] = f"http://127.0.0.1:{port}"
        try:
            yield
        finally:
            del os.environ[URI_VARIABLE]
