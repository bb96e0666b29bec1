"""Backups that were restored: docs/deploy.md, on SQLite and on PostgreSQL."""

import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

from ofa_pipeline.registry import open_registry
from tests.support.certified import register_certified, write_certified_bundle
from tests.support.postgres import postgres, program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def registered(workspace, folder):
    """Register a subnet, and say what a restored registry must answer."""
    registry = open_registry(workspace)
    subnet = register_certified(registry, write_certified_bundle(folder / "bundle"))
    registry.set_alias(subnet, "champion")
    return subnet


def is_whole(registry, subnet, folder):
    found = registry.version(subnet.model_uri)
    assert found.record.bundle_digest == subnet.record.bundle_digest
    assert registry.aliases(subnet.record.model_name)["champion"] == subnet.version
    registry.download(found, folder)  # compares every byte
    return True


def test_sqlite_registry_is_copied_while_it_is_used_and_restored_elsewhere(tmp_path):
    workspace, backup = tmp_path / "workspace", tmp_path / "backup"
    for folder in (workspace, backup):
        folder.mkdir()
    subnet = registered(workspace, tmp_path)
    with (
        closing(sqlite3.connect(workspace / "mlflow.db")) as here,
        closing(sqlite3.connect(backup / "mlflow.db")) as there,
    ):
        here.backup(there)
    shutil.copytree(workspace / "mlruns", backup / "mlruns")
    shutil.rmtree(workspace)  # the disk is gone
    restored = tmp_path / "restored"
    shutil.copytree(backup, restored)
    assert is_whole(open_registry(restored), subnet, tmp_path / "again")


def test_postgresql_registry_is_dumped_and_restored_into_an_empty_database(tmp_path, monkeypatch):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    dump = tmp_path / "mlflow.dump"
    with postgres() as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{address}mlflow")
        monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", (tmp_path / "files").as_uri())
        subnet = registered(workspace, tmp_path)
        run("pg_dump", "--format=custom", f"--file={dump}", f"{address}mlflow")
        # Stands for the new server: another empty database.
        run("pg_restore", "--no-owner", f"--dbname={address}prefect", str(dump))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{address}prefect")
        assert is_whole(open_registry(workspace), subnet, tmp_path / "again")


def run(name, *words):
    subprocess.run([program(name), *words], check=True, capture_output=True)
