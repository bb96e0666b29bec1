"""Faults of the registry: kills, many writers at once, and what an earlier version left."""

import shutil
import sqlite3
import time
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

from chaos_common import (
    Result,
    Trial,
    duration_of_work,
    kill,
    kill_writer,
    registry_on_a_server,
    start_process,
    write,
    write_overlapping,
)

from ofa_pipeline.registry.database import ensure_database


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
    process, _ = start_process(_make_tables, path)
    # It makes the first table at once; to the last it takes about two seconds, or more.
    deadline = time.monotonic() + 0.05 + trial.random.uniform(0, 2)
    while not path.exists() and process.is_alive():
        time.sleep(0.01)
    time.sleep(max(0.0, deadline - time.monotonic()))
    kill(process)


def _make_tables(pipe: Connection, path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{path}", "mlruns")
    pipe.send("made")


def change(path: Path, statement: str) -> None:
    """Change a SQLite file."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
