"""What becomes of runs and registries that are killed, met by many writers, or corrupted.

Each fault prints one JSON object: how often it was tried, how often everything was right after the
next run, versions of the same content beyond one, entries that are not there or have no files, and
(where artifacts are made) whether they equal those of an undisturbed run, times excepted.

    python benchmarks/chaos.py [--kills 20] [--writers 8] [--only FAULT ...]

Everything happens in temporary folders; servers listen on 127.0.0.1 only. It takes minutes.
"""

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ofa_pipeline.artifacts import Layout, verify_artifact  # noqa: E402 - the path comes first
from ofa_pipeline.registry import open_registry  # noqa: E402
from ofa_pipeline.registry.database import ensure_database  # noqa: E402
from tests.support.mlflow_server import mlflow_server  # noqa: E402
from tests.support.registry import write_bundle  # noqa: E402
from tests.support.registry_writer import count_registered, start_writer  # noqa: E402
from tests.support.workspace import read_params, tiny_workspace  # noqa: E402

SUBNETS_A_WRITER = 4
URI_VARIABLE = "MLFLOW_TRACKING_URI"


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
    note: str = ""

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

    @property
    def bundle(self) -> Path:
        """A bundle to register."""
        return self.folder / "bundle"

    def workspace(self, name: str) -> Path:
        """Make an empty folder for a registry."""
        path = self.folder / name
        path.mkdir()
        return path


# ---- writers -----------------------------------------------------------------------------------


def finish(process: "subprocess.Popen[str]") -> bool:
    """Wait for a writer; say on stderr why one failed."""
    _, errors = process.communicate()
    if process.returncode:
        sys.stderr.write(
            f"writer {process.pid} ended with {process.returncode}:\n{errors[-2000:]}\n"
        )
    return process.returncode == 0


def write(trial: Trial, workspace: Path, numbers: range) -> bool:
    """Register in a process of its own, undisturbed."""
    return finish(start_writer(workspace, trial.bundle, numbers, cwd=ROOT))


def kill_writer(trial: Trial, workspace: Path, numbers: range, *, longest_s: float) -> None:
    """Start a writer and kill it at a random instant of its work."""
    process = start_writer(workspace, trial.bundle, numbers, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(trial.random.uniform(0, longest_s))
    process.kill()
    process.communicate()


def duration_of_work(trial: Trial, workspace: Path, numbers: range) -> float:
    """Return the seconds that a writer works, from when everything is imported."""
    process = start_writer(workspace, trial.bundle, numbers, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    start = time.monotonic()
    if not finish(process):
        raise SystemExit("a writer fails undisturbed")
    return time.monotonic() - start


def write_overlapping(trial: Trial, workspace: Path, result: Result) -> None:
    """Have all writers register sets of which each shares most with the next, at once."""
    processes = [
        start_writer(workspace, trial.bundle, range(index, index + SUBNETS_A_WRITER), cwd=ROOT)
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


# ---- faults of the registry --------------------------------------------------------------------


def kill_while_database_is_made(trial: Trial) -> Result:
    """Kill whoever makes the SQLite file; the next run registers as if nothing had been."""
    result = Result("kill_while_database_is_made")
    longest_s = duration_of_work(trial, trial.workspace("made"), range(1))
    for index in range(trial.kills):
        workspace = trial.workspace(f"made-{index}")
        kill_writer(trial, workspace, range(1), longest_s=longest_s)
        result.count(workspace, range(1), is_well=write(trial, workspace, range(1)))
    return result


def kill_while_registering(trial: Trial) -> Result:
    """Kill a registration into one SQLite file again and again; the next one completes it."""
    result = Result("kill_while_registering")
    workspace = trial.workspace("registering")
    ensure_database(workspace / "mlflow.db")
    kill_registrations(trial, workspace, result)
    return result


def kill_while_registering_server(trial: Trial) -> Result:
    """Do the same through a server."""
    result = Result("kill_while_registering_server")
    with registry_on_a_server(trial.folder / "server-kills"):
        kill_registrations(trial, trial.workspace("registering-server"), result)
    return result


def kill_registrations(trial: Trial, workspace: Path, result: Result) -> None:
    """Kill registrations of new subnets, each at a random instant, and complete each."""
    longest_s = duration_of_work(trial, workspace, range(2))
    for index in range(trial.kills):
        numbers = range(2 + 2 * index, 4 + 2 * index)
        kill_writer(trial, workspace, numbers, longest_s=longest_s)
        result.count(workspace, range(numbers.stop), is_well=write(trial, workspace, numbers))


def writers_fresh_sqlite(trial: Trial) -> Result:
    """Have many writers meet where there is no database yet."""
    result = Result("writers_fresh_sqlite")
    write_overlapping(trial, trial.workspace("fresh"), result)
    return result


def writers_sqlite_overlapping(trial: Trial) -> Result:
    """Have many writers register overlapping sets into one SQLite file."""
    result = Result("writers_sqlite_overlapping")
    workspace = trial.workspace("overlapping")
    ensure_database(workspace / "mlflow.db")
    write_overlapping(trial, workspace, result)
    return result


def writers_server_overlapping(trial: Trial) -> Result:
    """Do the same through a server."""
    result = Result("writers_server_overlapping")
    with registry_on_a_server(trial.folder / "server-writers"):
        write_overlapping(trial, trial.workspace("overlapping-server"), result)
    return result


def half_made_database(trial: Trial) -> Result:
    """Begin with what an earlier version left half-made: the next run mends it."""
    result = Result("half_made_database")
    whole = trial.workspace("whole") / "mlflow.db"
    ensure_database(whole)
    for name, spoil in {
        "no bytes": lambda path: path.write_bytes(b""),
        "torn step": lambda path: change(path, "CREATE TABLE _alembic_tmp_runs (a INTEGER)"),
        "no revision": lambda path: change(path, "DELETE FROM alembic_version"),
        "no version table": lambda path: change(path, "DROP TABLE alembic_version"),
        "old revision": lambda path: change(
            path, "UPDATE alembic_version SET version_num = '451aebb31d03'"
        ),
        "no tables": lambda path: change(path, "DROP TABLE logged_models"),
    }.items():
        workspace = trial.workspace(f"half-made {name}")
        shutil.copyfile(whole, workspace / "mlflow.db")
        spoil(workspace / "mlflow.db")
        result.count(workspace, range(1), is_well=write(trial, workspace, range(1)))
    for index in range(trial.kills):
        workspace = trial.workspace(f"torn-{index}")
        kill_mlflow(trial, workspace / "mlflow.db")
        result.count(workspace, range(1), is_well=write(trial, workspace, range(1)))
    return result


def kill_mlflow(trial: Trial, path: Path) -> None:
    """Kill MLflow while it makes its tables in the file itself, as earlier versions had it do."""
    code = (
        "import sys, mlflow.store.tracking.sqlalchemy_store as store; print('ready', flush=True); "
        "store.SqlAlchemyStore(sys.argv[1], 'mlruns'); print('made', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, f"sqlite:///{path}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    # It makes the first table at once; to the last it takes about two seconds, or more.
    deadline = time.monotonic() + 0.05 + trial.random.uniform(0, 2)
    while not path.exists():
        time.sleep(0.01)
    while time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()


def change(path: Path, statement: str) -> None:
    """Change a SQLite file."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


# ---- faults of whole runs ----------------------------------------------------------------------


def kill_run(trial: Trial) -> Result:
    """Kill a whole run again and again; what measures no time comes out bit for bit the same."""
    undisturbed = tiny_workspace(trial.folder / "undisturbed")
    start = time.monotonic()
    if not run(undisturbed).wait() == 0:
        raise SystemExit("a tiny run fails undisturbed")
    longest_s = time.monotonic() - start
    killed = tiny_workspace(trial.folder / "killed")
    result = Result("kill_run", digests_equal=True)
    for _ in range(max(1, trial.kills // 4)):
        process = run(killed)
        time.sleep(trial.random.uniform(0, longest_s))
        if process.poll() is None:
            process.kill()
        process.wait()
        result.tried += 1
        result.survived += 1
    if run(killed).wait() != 0 or not results_are_there(killed):
        result.survived = 0
    result.digests_equal = digests_of(killed) == digests_of(undisturbed)
    return result


def run(workspace: Path) -> "subprocess.Popen[bytes]":
    """Start a run of a workspace."""
    words = [Path(sys.executable).with_name("ofa-pipeline"), "run", "--workspace", workspace]
    log = (workspace / "run.log").open("a")
    return subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=log)


def results_are_there(workspace: Path) -> bool:
    """Whether every device has its subnets in the registry."""
    subnets = open_registry(workspace).list_subnets()
    devices = read_params(workspace)["devices"]
    return {subnet.record.device for subnet in subnets} == set(devices)


def digests_of(workspace: Path) -> dict[str, str]:
    """Return the digests of all artifacts that depend on no measured time."""
    layout = Layout(workspace)
    folders = [layout.dataset, *sorted((workspace / "artifacts/supernet").iterdir())]
    folders += [layout.accuracy, layout.predictor]
    return {folder.name: verify_artifact(folder).digest for folder in folders}


FAULTS: tuple[Callable[[Trial], Result], ...] = (
    kill_while_database_is_made,
    kill_while_registering,
    kill_while_registering_server,
    writers_fresh_sqlite,
    writers_sqlite_overlapping,
    writers_server_overlapping,
    half_made_database,
    kill_run,
)


def main() -> int:
    """Try all faults, or those asked for; the exit code is 1 when one was not survived."""
    names = [fault.__name__ for fault in FAULTS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    os.environ.pop(URI_VARIABLE, None)
    all_well = True
    with tempfile.TemporaryDirectory(prefix="ofa-chaos-") as folder:
        for fault in FAULTS:
            if fault.__name__ not in options.only:
                continue
            here = Path(folder) / fault.__name__
            here.mkdir()
            trial = Trial(here, options.kills, options.writers, random.Random(options.seed))
            write_bundle(trial.bundle)
            result = fault(trial)
            print(json.dumps(asdict(result)), flush=True)
            is_well = result.survived == result.tried and not result.duplicates + result.missing
            all_well &= is_well and result.digests_equal is not False
    return 0 if all_well else 1


if __name__ == "__main__":
    sys.exit(main())
