"""What a team shares: a platform on PostgreSQL, its files and DVC's remote in an S3 store."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from mlflow import MlflowClient

from flows.services import WORK_POOL
from ofa_pipeline.exit_codes import EXIT_INTERRUPTED
from ofa_pipeline.registry import open_registry
from ofa_pipeline.registry.reading import CHECK_EVERY_S
from tests.support.mlflow_server import free_port
from tests.support.postgres import postgres
from tests.support.registry import SubnetRegistryContract, subnet_record, write_bundle
from tests.support.registry_writer import Count, count_registered, start_writer
from tests.support.s3 import BUCKET, s3_store
from tests.support.workspace import run_command, toy_workspace

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
WHOLE = Count(duplicates=0, missing=0, num_running=0)


@pytest.fixture(scope="module")
def databases():
    with postgres() as address:
        yield address


@pytest.fixture(scope="module")
def database(databases):
    return f"{databases}mlflow"


@pytest.fixture(scope="module")
def store():
    with s3_store() as found:
        yield found


@dataclass(frozen=True)
class Platform:
    """A platform that runs, with everything on PostgreSQL and S3; its clients know neither."""

    folder: Path
    prefect: str
    mlflow: str
    registry: str


@pytest.fixture(scope="module")
def platform(databases, store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("team") / "platform"
    ports = {name: free_port() for name in ("prefect", "mlflow", "registry")}
    words = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    variables = {
        **store.environment,
        "OFA_PIPELINE_MLFLOW_DATABASE": f"{databases}mlflow",
        "OFA_PIPELINE_PREFECT_DATABASE": f"{databases}prefect",
        "OFA_PIPELINE_ARTIFACTS": f"s3://{BUCKET}/mlflow",
    }
    begin = ("platform", "start", "--folder")
    process = subprocess.Popen(
        [Path(sys.executable).with_name("ofa-pipeline"), *begin, str(folder), *words],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said, urls = "", {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    try:
        for line in process.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        assert f"export MLFLOW_TRACKING_URI={urls['mlflow']}" in said, said
        yield Platform(folder, **urls)
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=120)[0]
    assert process.returncode == EXIT_INTERRUPTED, said + rest
    for port in ports.values():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


@pytest.fixture(scope="module")
def server(platform):
    return platform.mlflow


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


@pytest.mark.usefixtures("empty")
def test_what_changes_is_noticed_beside_a_version_that_is_dated_ahead(
    database, workspace, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    registry, bundle = open_registry(workspace), write_bundle(tmp_path / "a-bundle")
    with monkeypatch.context() as ahead:
        really = time.time
        ahead.setattr(time, "time", lambda: really() + 50 * 86400)
        dated = registry.register(subnet_record(latency_ms=1.0), bundle)
    assert registry.registered_at(dated) > datetime.now(UTC) + timedelta(days=49)
    gone = registry.register(subnet_record(latency_ms=2.0), bundle)
    reader = open_registry(workspace)

    def numbers():
        return {found.version for found in reader.list_subnets()}

    assert numbers() == {dated.version, gone.version}
    client = MlflowClient(database)
    client.delete_model_version(gone.record.model_name, str(gone.version))
    time.sleep(CHECK_EVERY_S)
    assert numbers() == {dated.version}
    new = registry.register(subnet_record(latency_ms=3.0), bundle)
    time.sleep(CHECK_EVERY_S)
    assert numbers() == {dated.version, new.version}


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


def answer(url):
    with urllib.request.urlopen(url, timeout=60) as response:
        return response.read().decode()


def test_platform_has_what_runs_of_the_pipeline_need(
    platform, empty, workspace, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", platform.mlflow)
    open_registry(workspace).register(subnet_record(), write_bundle(tmp_path / "a-bundle"))
    assert json.loads(answer(f"{platform.registry}/healthz"))
    assert (platform.folder / "webhook.key").exists()  # else webhooks end with the server
    shown = run_command(
        *("prefect", "--no-prompt", "work-pool", "inspect", WORK_POOL),
        workspace=workspace,
        PREFECT_API_URL=f"{platform.prefect}/api",
        PREFECT_HOME=str(tmp_path / "prefect"),
    )
    assert "type='process'" in shown.stdout
    again = run_command(
        *("ofa-pipeline", "platform", "init"),
        workspace=workspace,
        PREFECT_API_URL=f"{platform.prefect}/api",
    )
    assert "marked as crashed" in again.stdout


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
