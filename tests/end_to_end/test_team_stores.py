"""What a team shares: a registry on PostgreSQL, its files and DVC's remote in an S3 store."""

import re
import shutil
from pathlib import Path

import psycopg2
import pytest

from ofa_pipeline.registry import open_registry
from tests.support.mlflow_server import mlflow_server
from tests.support.postgres import postgres
from tests.support.registry import SubnetRegistryContract, write_bundle
from tests.support.registry_writer import Count, count_registered, start_writer
from tests.support.s3 import BUCKET, s3_store
from tests.support.workspace import run_command, toy_workspace

ROOT = Path(__file__).parents[2]
WHOLE = Count(duplicates=0, missing=0, num_running=0)


@pytest.fixture(scope="module")
def database():
    with postgres() as address:
        yield address


@pytest.fixture(scope="module")
def store():
    with s3_store() as found:
        yield found


@pytest.fixture(scope="module")
def server(database, store, tmp_path_factory):
    """An MLflow server with everything on PostgreSQL and S3; clients know neither."""
    folder = tmp_path_factory.mktemp("team") / "server"
    files = f"s3://{BUCKET}/mlflow"
    with mlflow_server(folder, store=database, files=files, variables=store.environment) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def empty(database):
    """The database without a row, but for what a new one has."""
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        kept = {"alembic_version", "experiments", "workspaces"}
        tables = [name for (name,) in cursor if name not in kept]
        if tables:
            cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")
            cursor.execute("DELETE FROM experiments WHERE experiment_id <> 0")
    connection.close()


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


def test_writers_of_overlapping_sets_meet_at_a_new_database(
    database, workspace, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    bundle = write_bundle(tmp_path / "a-bundle")
    writers = [start_writer(workspace, bundle, [n, n + 1], cwd=ROOT) for n in range(3)]
    ends = [(writer.communicate()[1], writer.returncode) for writer in writers]
    assert [code for _, code in ends] == [0] * len(ends), ends
    assert count_registered(open_registry(workspace), range(4)) == WHOLE


class TestOnPostgres(SubnetRegistryContract):
    @pytest.fixture
    def registry(self, database, empty, workspace, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
        return open_registry(workspace)


class TestOnServer(SubnetRegistryContract):
    @pytest.fixture
    def registry(self, server, empty, workspace, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
        return open_registry(workspace)


def test_files_of_a_bundle_lie_in_the_store(server, store, empty, workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    bundle = write_bundle(tmp_path / "a-bundle")
    SubnetRegistryContract().test_bundle_comes_back_byte_for_byte(
        open_registry(workspace), bundle, tmp_path
    )
    assert any(key.endswith("model.onnx") for key in store.keys("mlflow/"))


def test_finished_artifacts_go_to_the_store_and_come_back_elsewhere(store, tmp_path):
    here = toy_workspace(tmp_path / "here")
    variables = dict(store.environment)
    run_command("dvc", "repro", workspace=here)
    run_command("dvc", "remote", "add", "-d", "team", f"s3://{BUCKET}/dvc", workspace=here)
    run_command("dvc", "remote", "modify", "team", "endpointurl", store.endpoint, workspace=here)
    run_command("dvc", "push", workspace=here, **variables)
    assert store.keys("dvc/")

    there = tmp_path / "there"
    kept = shutil.ignore_patterns("artifacts", "cache", "tmp")
    shutil.copytree(here, there, ignore=kept, symlinks=True)
    run_command("dvc", "pull", workspace=there, **variables)
    for path in (here / "artifacts").rglob("*"):
        if path.is_file():
            assert (there / path.relative_to(here)).read_bytes() == path.read_bytes()
    again = run_command("dvc", "repro", "--dry", workspace=there).stdout
    assert re.findall("Running stage '(.*)'", again) == ["list_source"]
