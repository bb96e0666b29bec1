"""Where the registry is, and whether it answers."""

import base64
import importlib.util
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry import MlflowRegistry, check_reachable, open_registry, tracking_uri
from ofa_pipeline.registry.server import artifact_root

SEEN = []
"""Credentials that the answering server was given."""


@pytest.fixture
def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def answering_server(request):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            SEEN.append(self.headers.get("Authorization"))
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_registry_of_a_workspace_is_a_file_in_it(tmp_path):
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert artifact_root(tracking_uri(tmp_path), tmp_path) == f"file://{tmp_path}/mlruns"


def test_tracking_uri_of_the_environment_is_honored(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    registry = open_registry(tmp_path)
    assert registry.tracking_uri == "http://mlflow:5000"
    assert artifact_root("http://mlflow:5000", tmp_path) is None


def test_artifacts_beside_a_database_lie_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "s3://bucket/models")
    assert artifact_root("postgresql+psycopg://db/mlflow", tmp_path) == "s3://bucket/models"


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:{port}", "postgresql://me:secret@127.0.0.1:{port}/mlflow"]
)
def test_unreachable_server_is_found_at_once_and_named(free_port, uri):
    with pytest.raises(RegistryError, match=f"reachable at .*127.0.0.1:{free_port}.*refused"):
        MlflowRegistry(uri.format(port=free_port)).check()


def test_password_of_a_database_is_not_shown(free_port):
    uri = f"postgresql://me:secret@127.0.0.1:{free_port}/mlflow"
    with pytest.raises(RegistryError) as caught:
        check_reachable(uri)
    assert "secret" not in str(caught.value)
    assert "postgresql://me:***@127.0.0.1" in str(caught.value)


@pytest.mark.parametrize("answering_server", [200], indirect=True)
def test_user_and_password_of_the_address_are_sent_and_not_taken_for_the_host(answering_server):
    check_reachable(answering_server.replace("://", "://me:p%40ss@"))
    assert SEEN[-1] == "Basic " + base64.b64encode(b"me:p@ss").decode()


@pytest.mark.parametrize("answering_server", [200], indirect=True)
@pytest.mark.skipif(bool(importlib.util.find_spec("pymysql")), reason="the driver is installed")
def test_database_whose_driver_is_not_installed_is_told_so(answering_server):
    with pytest.raises(RegistryError, match="driver of that database is not installed"):
        check_reachable(answering_server.replace("http://", "mysql+pymysql://me:secret@") + "/d")


@pytest.mark.parametrize("answering_server", [200, 401, 404], indirect=True)
def test_server_that_answers_anything_is_reachable(answering_server):
    check_reachable(answering_server)


@pytest.mark.parametrize("answering_server", [502], indirect=True)
def test_server_that_fails_is_not_reachable(answering_server):
    with pytest.raises(RegistryError, match="Bad Gateway"):
        check_reachable(answering_server)


def test_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "mlflow.db").write_text("hello, I am a text file")
    with pytest.raises(RegistryError, match="is not a SQLite file"):
        check_reachable(f"sqlite:///{tmp_path}/mlflow.db")


def test_workspace_without_a_database_is_fine(tmp_path):
    check_reachable(tracking_uri(tmp_path))
    check_reachable(f"sqlite:///{tmp_path}/new/folder/mlflow.db")
