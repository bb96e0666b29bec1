"""Real MLflow on SQLite: the tables are made once, every test gets a copy of the file."""

import shutil

import pytest

from ofa_pipeline.registry import open_registry
from ofa_pipeline.registry.database import ensure_database


@pytest.fixture(autouse=True)
def no_registry_of_the_user(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", raising=False)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    ensure_database(folder / "mlflow.db")
    return folder / "mlflow.db"


@pytest.fixture
def workspace(tmp_path, empty_database):
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copyfile(empty_database, folder / "mlflow.db")
    return folder


@pytest.fixture
def registry(workspace):
    return open_registry(workspace)
