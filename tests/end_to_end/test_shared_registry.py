"""Many writers, kills and outages at one registry: what `benchmarks/chaos.py` does at length."""

import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry import Entry, RunNotes, open_registry, registration
from ofa_pipeline.registry.model_folder import write_model_folder
from tests.support.basic_auth import proxy_with_password
from tests.support.mlflow_server import free_port, mlflow_server
from tests.support.registry import digest_of, subnet_record, write_bundle
from tests.support.registry_writer import (
    Count,
    count_registered,
    numbered_record,
    start_writer,
)

ROOT = Path(__file__).parents[2]
WHOLE = Count(duplicates=0, missing=0, num_running=0)


@pytest.fixture(autouse=True)
def no_registry_of_the_user(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "a-bundle")


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("shared") / "server") as port:
        yield port


def finish(writers):
    ends = [(writer.communicate()[1], writer.returncode) for writer in writers]
    assert [code for _, code in ends] == [0] * len(ends), ends


def test_writers_of_overlapping_sets_meet_at_a_new_file(workspace, bundle):
    writers = [start_writer(workspace, bundle, [n, n + 1], cwd=ROOT) for n in range(3)]
    finish(writers)
    assert count_registered(open_registry(workspace), range(4)) == WHOLE


def test_writers_of_overlapping_sets_meet_at_a_server(server, workspace, bundle, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server}")
    writers = [start_writer(workspace, bundle, [n, n + 1], cwd=ROOT) for n in range(3)]
    finish(writers)
    assert count_registered(open_registry(workspace), range(4)) == WHOLE


def test_killed_writer_leaves_neither_runs_nor_remains_nor_files(workspace, bundle, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(temporary)
    try:
        finish([start_writer(workspace, bundle, [0], cwd=ROOT)])
        for delay_s in (0.1, 0.4):
            writer = start_writer(workspace, bundle, range(1, 9), cwd=ROOT)
            writer.stdout.readline()
            time.sleep(delay_s)
            writer.kill()
            writer.communicate()
        finish([start_writer(workspace, bundle, range(9), cwd=ROOT)])
    finally:
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before
    assert count_registered(open_registry(workspace), range(9)) == WHOLE
    assert list(temporary.iterdir()) == []


def test_server_behind_a_password_is_used_with_user_and_password_in_the_address(
    server, workspace, bundle, tmp_path, monkeypatch
):
    with proxy_with_password(server, user="me", password="s/e@c:ret") as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:s%2Fe%40c%3Aret@127.0.0.1:{port}")
        registry = open_registry(workspace)
        registry.check(["ofa-tiny-cpu"])
        record = subnet_record(accuracy=0.99, bundle_digest=digest_of(bundle))
        found = registry.register(record, bundle)
        assert registry.best(device="cpu", max_latency_ms=60) == found
        assert (registry.download(found, tmp_path / "copy") / "model.onnx").exists()

        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:wrong@127.0.0.1:{port}")
        with pytest.raises(RegistryError, match="MLFLOW_TRACKING_USERNAME") as caught:
            open_registry(workspace).check()
        assert "wrong" not in str(caught.value)


def test_server_that_dies_in_between_is_named(tmp_path, workspace, bundle, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with mlflow_server(tmp_path / "server") as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
        registry = open_registry(workspace)
        registry.check()
    entry = Entry(record=numbered_record(0), bundle_folder=bundle)
    for ask in (
        registry.check,
        registry.list_subnets,
        lambda: registry.register_all([entry], notes=RunNotes(name="late")),
    ):
        with pytest.raises(RegistryError, match="Nobody answers there") as caught:
            ask()
        assert f"127.0.0.1:{port}" in str(caught.value)
        assert "disk" not in str(caught.value)
        assert "secret" not in str(caught.value)


def test_server_that_is_killed_and_comes_back_holds_everything_once(
    tmp_path, workspace, bundle, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    entries = [Entry(record=numbered_record(n), bundle_folder=bundle) for n in range(3)]
    notes = RunNotes(name="interrupted")
    folders = []
    with ExitStack() as running:
        port = running.enter_context(mlflow_server(tmp_path / "server"))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")

        def kill_while_the_second_is_written(bundle_folder, folder):
            folders.append(folder)
            if len(folders) == 2:
                running.close()
            write_model_folder(bundle_folder, folder)

        monkeypatch.setattr(registration, "write_model_folder", kill_while_the_second_is_written)
        with pytest.raises(RegistryError, match="Nobody answers there"):
            open_registry(workspace).register_all(entries, notes=notes)
    with mlflow_server(tmp_path / "server", port=port):
        registered = open_registry(workspace).register_all(entries, notes=notes)
        assert [item.record for item in registered] == [entry.record for entry in entries]
        assert count_registered(open_registry(workspace), range(3)) == WHOLE
    assert not any(folder.parent.exists() for folder in folders)


def test_dead_server_is_found_before_work(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(RegistryError, match=r"the MLflow server must be reachable.*Nobody answers"):
        open_registry(workspace).check()
