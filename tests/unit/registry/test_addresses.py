"""What an address of a registry means, and what is said about one that is none."""

import os
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry import open_registry, tracking_uri
from ofa_pipeline.registry.addresses import (
    resolve_address,
    split_server,
    sqlite_address,
    sqlite_path,
)

WORKSPACE = Path("/ws")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", "sqlite:////ws/mlflow.db"),
        (" \t\n", "sqlite:////ws/mlflow.db"),
        ("sqlite:///mlflow.db", "sqlite:////ws/mlflow.db"),
        ("sqlite:///./a/../b.db", "sqlite:////ws/b.db"),
        ("sqlite:///a b#c.db", "sqlite:////ws/a b#c.db"),
        ("sqlite:///m.db?timeout=30", "sqlite:////ws/m.db?timeout=30"),
        ("sqlite:////abs/m.db", "sqlite:////abs/m.db"),
        ("http://host:5000/", "http://host:5000"),
        ("https://host/path/", "https://host/path"),
        ("http://u:p/w@host:5000", "http://u:p%2Fw@host:5000"),
        ("http://u:p%40w@host:5000", "http://u:p%40w@host:5000"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("postgresql://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql://u:p#a@h/d", "postgresql://u:p%23a@h/d"),
        ("postgresql://u:12#a@h:5/d", "postgresql://u:12%23a@h:5/d"),
        ("postgresql://u:p/a?b@h/d", "postgresql://u:p%2Fa%3Fb@h/d"),
        ("mysql+pymysql://u:p@a@[::1]:5/d?x=y@z", "mysql+pymysql://u:p%40a@[::1]:5/d?x=y@z"),
        ("postgresql://h:5432/d?x=a@b", "postgresql://h:5432/d?x=a@b"),
        ("postgresql:///d", "postgresql:///d"),
        ("postgresql+psycopg2://u:p@/d?host=/run", "postgresql+psycopg2://u:p@/d?host=/run"),
    ],
)
def test_address_means_one_place(text, meant):
    assert resolve_address(text, WORKSPACE) == meant
    assert resolve_address(meant, Path("/elsewhere")) == meant


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("localhost:5000", "http://localhost:5000"),
        ("localhost", "http://localhost"),
        ("myhost:5000/mlflow", "http://myhost:5000/mlflow"),
        ("mlflow.example.com", "http://mlflow.example.com"),
        ("http:/host:5000", "http://host:5000"),
        ("https//host", "https://host"),
        ("'http://host'", "http://host"),
        ("sqlite:mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite://mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite:///w?t/m.db", "sqlite+pysqlite:///file:/ws/w%3Ft/m.db?uri=true"),
        ("mlflow.db", "sqlite:////ws/mlflow.db"),
        ("./mlruns", "sqlite:////ws/mlruns/mlflow.db"),
        ("/abs/mlruns", "sqlite:////abs/mlruns/mlflow.db"),
        ("file:///abs/mlruns", "sqlite:////FOLDER/mlflow.db"),
        ("C:\\mlruns", "sqlite:////FOLDER/mlflow.db"),
        ("C:/mlruns", "sqlite:////FOLDER/mlflow.db"),
        ("\\\\server\\share", "http://HOST:5000"),
        ("databricks", "http://HOST:5000"),
        ("databricks://profile", "http://HOST:5000"),
        ("postgres://u:p@h/d", "postgresql://"),
        ("htttp://host", "http://"),
        ("s3://bucket/x", "http://HOST:5000"),
        ("http://", "http://HOST:PORT"),
        ("http://host:99999", "from 1 to 65535"),
        ("http://host:port", "from 1 to 65535"),
        ("http://my host", "%20"),
        ("sqlite:///:memory:", "Name a file"),
        ("sqlite:///", "sqlite:///mlflow.db"),
    ],
)
def test_what_is_no_address_is_refused_with_the_right_spelling(text, right):
    with pytest.raises(RegistryError, match="MLFLOW_TRACKING_URI must be the address") as caught:
        resolve_address(text, WORKSPACE)
    assert right in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["http://[::1", "https://u:hidden@[::1", "postgresql://u:hidden@[::1/d"]
)
def test_host_that_no_program_can_read_is_refused_without_the_parser_s_words(text):
    with pytest.raises(RegistryError, match="its host and port cannot be told") as caught:
        resolve_address(text, WORKSPACE)
    assert "hidden" not in str(caught.value)


def test_home_is_written_out_where_nobody_expands_it():
    with pytest.raises(RegistryError) as caught:
        resolve_address("sqlite:///~/m.db", WORKSPACE)
    assert sqlite_address(Path("~/m.db").expanduser()) in str(caught.value)


def test_password_of_what_is_no_address_is_not_shown():
    for text in ("me:secret@host:5000", "postgres://me:secret@host/d", "http://me:secret@host:x"):
        with pytest.raises(RegistryError) as caught:
            resolve_address(text, WORKSPACE)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["a#b", "what?", "a%20b", "a%41b", "it's", 'say "x"', "größe 日本"]
)
def test_path_of_a_file_comes_back_from_its_address(name):
    path = Path("/ws") / name / "mlflow.db"
    assert sqlite_path(sqlite_address(path)) == path
    assert sqlite_path(resolve_address("sqlite:///mlflow.db", Path("/ws") / name)) == path


@pytest.mark.parametrize(
    "uri", ["sqlite:///a b#c.db", "sqlite:////ws/a%20b.db?timeout=30", "sqlite:////u:p@h/it's.db"]
)
def test_path_of_a_file_is_the_one_that_sqlalchemy_reads(uri):
    assert sqlite_path(uri) == Path(make_url(uri).database)


def test_relative_file_is_the_workspace_s_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    found = set()
    for folder in (tmp_path, workspace):
        monkeypatch.chdir(folder)
        found |= {
            tracking_uri(workspace),
            open_registry(Path(os.path.relpath(workspace))).tracking_uri,
        }
    assert found == {f"sqlite:///{workspace}/mlflow.db"}


@pytest.mark.parametrize(
    ("uri", "address", "user", "password"),
    [
        ("http://host:5000", "http://host:5000", "", ""),
        ("http://host:5000/x@y", "http://host:5000/x@y", "", ""),
        ("http://u:p@host:5000/x/", "http://host:5000/x", "u", "p"),
        ("http://u:p%40@host", "http://host", "u", "p%40"),
        ("http://u@host", "http://host", "u", ""),
    ],
)
def test_user_and_password_are_told_from_the_host(uri, address, user, password):
    server = split_server(uri)
    assert (server.address, server.user, server.password) == (address, user, password)
