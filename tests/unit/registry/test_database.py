"""The SQLite file is made whole or not at all, and mended where an earlier version left it torn."""

import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry import MlflowRegistry, database, open_registry
from ofa_pipeline.registry.database import ensure_database, hold_database, make_in_background
from ofa_pipeline.registry.schema import (
    DatabaseState,
    inspect_database,
    known_revisions,
    latest_revision,
)
from tests.support.registry import subnet_record, write_bundle


def change(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def whole(tmp_path, empty_database):
    """A registry without entries, whose making need not be waited for."""
    path = tmp_path / "mlflow.db"
    shutil.copyfile(empty_database, path)
    return path


@pytest.fixture
def made_quickly(monkeypatch, empty_database):
    """Put a copy in place of what MLflow makes in seconds."""
    monkeypatch.setattr(
        database, "_run_migration", lambda draft: shutil.copyfile(empty_database, draft)
    )


def test_revisions_are_those_of_the_installed_mlflow(empty_database):
    with closing(sqlite3.connect(empty_database)) as connection:
        [[revision]] = connection.execute("SELECT version_num FROM alembic_version")
    assert revision == latest_revision()
    assert len(known_revisions()) > 50


def test_new_file_is_its_owners_alone_and_one_that_is_shared_stays_so(
    empty_database, workspace, tmp_path
):
    assert stat.S_IMODE(empty_database.stat().st_mode) == 0o600
    open_registry(workspace).register(subnet_record(), write_bundle(tmp_path / "a-bundle"))
    path = workspace / "mlflow.db"
    path.chmod(0o664)
    change(path, "CREATE TABLE _alembic_tmp_runs (a INTEGER)")
    ensure_database(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_whole_file_is_left_alone(whole):
    before = whole.read_bytes()
    ensure_database(whole)
    assert whole.read_bytes() == before
    assert list(whole.parent.iterdir()) == [whole]


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE _alembic_tmp_runs (a INTEGER)"],
        ["DELETE FROM alembic_version"],
        ["DROP TABLE alembic_version"],
        ["DROP TABLE logged_models"],
        ["UPDATE alembic_version SET version_num = '451aebb31d03'"],
    ],
)
def test_half_made_file_without_entries_is_kept_aside_and_made_anew(
    whole, made_quickly, statements, caplog
):
    change(whole, *statements)
    torn = whole.read_bytes()
    assert inspect_database(whole).state is DatabaseState.HALF_MADE
    ensure_database(whole)
    assert inspect_database(whole).state is DatabaseState.WHOLE
    assert whole.with_name("mlflow.db.broken-1").read_bytes() == torn
    assert "half made" in caplog.text
    assert "mlflow.db.broken-1" in caplog.text


def test_journal_of_a_torn_file_goes_where_the_file_goes(whole, made_quickly):
    change(whole, "DROP TABLE alembic_version")
    whole.with_name("mlflow.db-journal").write_bytes(b"")
    ensure_database(whole)
    assert whole.with_name("mlflow.db.broken-1-journal").exists()
    assert not whole.with_name("mlflow.db-journal").exists()


def test_journal_without_its_file_is_not_taken_for_the_new_one_s(tmp_path, made_quickly):
    (tmp_path / "mlflow.db-journal").write_bytes(b"of a file that is gone")
    ensure_database(tmp_path / "mlflow.db")
    assert not (tmp_path / "mlflow.db-journal").exists()
    assert inspect_database(tmp_path / "mlflow.db").state is DatabaseState.WHOLE


def test_file_without_bytes_is_made(tmp_path, made_quickly):
    (tmp_path / "mlflow.db").touch()
    ensure_database(tmp_path / "mlflow.db")
    assert inspect_database(tmp_path / "mlflow.db").state is DatabaseState.WHOLE


def test_half_made_files_are_never_put_over_each_other(tmp_path, made_quickly):
    for _ in range(2):
        (tmp_path / "mlflow.db").write_bytes(b"")
        ensure_database(tmp_path / "mlflow.db")
    assert (tmp_path / "mlflow.db.broken-1").exists()
    assert (tmp_path / "mlflow.db.broken-2").exists()


def test_file_with_entries_is_brought_up_to_date_on_a_copy_and_kept(workspace, tmp_path):
    record = subnet_record()
    registered = open_registry(workspace).register(record, write_bundle(tmp_path / "a-bundle"))
    path = workspace / "mlflow.db"
    # What a kill in the first step of a migration leaves.
    change(path, "CREATE TABLE _alembic_tmp_runs (a INTEGER)")
    assert inspect_database(path).has_entries
    assert open_registry(workspace).list_subnets() == (registered,)
    assert inspect_database(path).state is DatabaseState.WHOLE
    assert (workspace / "mlflow.db.broken-1").exists()


def test_copy_of_a_table_that_was_not_renamed_yet_is_the_table(whole):
    change(whole, "INSERT INTO experiments (name) VALUES ('mine')")
    change(whole, "ALTER TABLE experiments RENAME TO _alembic_tmp_experiments")
    found = inspect_database(whole)
    assert found.has_entries
    ensure_database(whole)
    with closing(sqlite3.connect(whole)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM experiments")}
    assert "mine" in names


def test_file_that_cannot_be_brought_up_to_date_stays_as_it_was(whole):
    change(whole, "INSERT INTO experiments (name) VALUES ('mine')", "DROP TABLE alembic_version")
    before = whole.read_bytes()
    with pytest.raises(RegistryError, match="could not be made"):
        ensure_database(whole)
    assert whole.read_bytes() == before
    assert {path.name for path in whole.parent.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_file_of_a_newer_mlflow_is_refused(whole):
    change(whole, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(RegistryError, match="newer MLflow"):
        ensure_database(whole)


def test_file_of_another_program_is_refused(tmp_path):
    change(tmp_path / "mlflow.db", "CREATE TABLE songs (title TEXT)")
    with pytest.raises(RegistryError, match=r"another program \(songs\)"):
        ensure_database(tmp_path / "mlflow.db")


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RegistryError, match=r"must be a SQLite file that can be written"):
        ensure_database(tmp_path / "file" / "mlflow.db")


def test_file_that_another_process_is_making_is_waited_for(whole, empty_database, made_quickly):
    change(whole, "DROP TABLE logged_models")
    code = "import sys, time; f = open(sys.argv[1]); print('open', flush=True); time.sleep(60)"
    maker = subprocess.Popen(
        [sys.executable, "-c", code, str(whole)], stdout=subprocess.PIPE, text=True
    )
    maker.stdout.readline()
    thread = threading.Thread(target=ensure_database, args=[whole])
    thread.start()
    time.sleep(0.2)
    shutil.copyfile(empty_database, whole)  # it becomes whole
    maker.kill()
    maker.communicate()
    thread.join()
    assert inspect_database(whole).state is DatabaseState.WHOLE
    assert not whole.with_name("mlflow.db.broken-1").exists()


def test_killed_maker_leaves_nothing_that_counts(tmp_path):
    path = tmp_path / "mlflow.db"
    code = "import sys, pathlib; from ofa_pipeline.registry.database import ensure_database as e; "
    code += "print('go', flush=True); e(pathlib.Path(sys.argv[1]))"
    maker = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    maker.stdout.readline()
    time.sleep(0.5)
    maker.send_signal(signal.SIGKILL)
    maker.communicate()
    assert not path.exists()
    ensure_database(path)
    assert inspect_database(path).state is DatabaseState.WHOLE
    assert {item.name for item in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_many_at_one_new_file_make_it_once(tmp_path, monkeypatch, empty_database):
    made = []

    def make(draft):
        made.append(draft)
        time.sleep(0.05)
        shutil.copyfile(empty_database, draft)

    monkeypatch.setattr(database, "_run_migration", make)
    threads = [
        threading.Thread(target=ensure_database, args=[tmp_path / "mlflow.db"]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_check_makes_no_database_and_the_background_does(tmp_path, made_quickly):
    registry = open_registry(tmp_path)
    registry.check(["ofa-tiny-cpu"])
    assert list(tmp_path.iterdir()) == []
    registry.prepare()()
    assert inspect_database(tmp_path / "mlflow.db").state is DatabaseState.WHOLE


def test_what_is_wrong_in_the_background_is_met_in_the_foreground(tmp_path):
    change(tmp_path / "mlflow.db", "CREATE TABLE songs (title TEXT)")
    make_in_background(tmp_path / "mlflow.db")()
    with pytest.raises(RegistryError, match="another program"):
        MlflowRegistry(f"sqlite:///{tmp_path}/mlflow.db").list_subnets()


def test_holder_that_does_not_let_go_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "LOCK_PATIENCE_S", 0.1)
    with (
        hold_database(tmp_path / "mlflow.db"),
        pytest.raises(RegistryError, match="has been written by process"),
        hold_database(tmp_path / "mlflow.db"),
    ):
        pass
