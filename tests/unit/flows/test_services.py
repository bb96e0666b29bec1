"""The servers of a platform: how each is started, watched and ended."""

import socket
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from flows.services import (
    WORK_POOL,
    PlatformError,
    Ports,
    RunningService,
    Service,
    Stores,
    services_of,
)
from tests.support.mlflow_server import free_port

ROOT = Path(__file__).parents[3]


def python_service(program, **changes):
    values = {
        "name": "mlflow",
        "words": [sys.executable, "-c", program],
        "environment": {},
        "port": free_port(),
        "health": "/",
    }
    return Service(**values | changes)


def test_one_database_for_both_is_refused_without_its_password(tmp_path):
    address = "postgresql://ofa:secret@db/ofa"
    with pytest.raises(PlatformError, match="each have a database of their own") as caught:
        Stores(folder=tmp_path, mlflow_database=address, prefect_database=address)
    assert "secret" not in str(caught.value)


def test_secrets_are_not_among_the_words_that_other_users_see(tmp_path):
    stores = Stores(
        folder=tmp_path,
        mlflow_database="postgresql://ofa:secret@db/mlflow",
        prefect_database="postgresql+psycopg2://ofa:secret@db/prefect",
    )
    prefect, mlflow, registry = services_of(stores, Ports(prefect=1, mlflow=2, registry=3))
    assert not any("secret" in word for item in (prefect, mlflow, registry) for word in item.words)
    assert mlflow.environment["MLFLOW_BACKEND_STORE_URI"] == stores.mlflow_database
    address = prefect.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert address == "postgresql+asyncpg://ofa:secret@db/prefect"
    assert registry.environment["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:2"


def test_everything_lies_in_the_folder_where_nothing_else_is_named(tmp_path):
    prefect, mlflow, _ = services_of(
        Stores(folder=tmp_path), Ports(prefect=1, mlflow=2, registry=3)
    )
    assert "PREFECT_SERVER_DATABASE_CONNECTION_URL" not in prefect.environment
    assert mlflow.environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path}/mlflow.db"
    assert mlflow.environment["MLFLOW_ARTIFACTS_DESTINATION"] == f"file://{tmp_path}/files"


def test_port_that_is_taken_is_named_with_the_option_that_helps(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = python_service("", port=taken.getsockname()[1])
        with pytest.raises(PlatformError, match="--mlflow-port"):
            RunningService(service, tmp_path)


def test_server_that_ends_is_named_with_the_end_of_its_log(tmp_path):
    program = "import sys; sys.exit('postgresql://ofa:secret@db/mlflow does not answer')"
    running = RunningService(python_service(program), tmp_path / "platform")
    with pytest.raises(PlatformError, match=r"(?s)exit code 1\..*does not answer") as e:
        running.wait_until_ready()
    assert "secret" not in str(e.value)
    assert (tmp_path / "platform").stat().st_mode & 0o077 == 0


def test_stopping_ends_what_the_server_has_started_too(tmp_path):
    program = "import subprocess, sys, time; subprocess.Popen(['sleep', '1000']); time.sleep(1000)"
    running = RunningService(python_service(program), tmp_path)
    deadline = time.monotonic() + 60
    while not (family := psutil.Process().children(recursive=True)[1:]):
        assert time.monotonic() < deadline
    running.stop()
    assert not any(child.is_running() and child.status() != "zombie" for child in family)


def test_work_pool_is_that_of_the_deployments():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {item["work_pool"]["name"] for item in deployments} == {WORK_POOL}
