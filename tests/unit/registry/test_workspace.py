"""A workspace takes its registry along."""

import shutil

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry import open_registry
from ofa_pipeline.registry.server import ambient_tracking_uri
from tests.support.registry import digest_of, subnet_record, write_bundle


@pytest.fixture
def registered(registry, tmp_path):
    bundle = write_bundle(tmp_path / "a-bundle")
    return registry.register(subnet_record(bundle_digest=digest_of(bundle)), bundle)


def test_looking_up_in_an_empty_folder_makes_no_database(tmp_path):
    registry = open_registry(tmp_path)
    assert registry.list_subnets() == ()
    assert registry.find(model_name="ofa-tiny-cpu", bundle_digest="00") is None
    with pytest.raises(RegistryError, match="The registry is empty"):
        registry.best(device="cpu", max_latency_ms=1)
    assert list(tmp_path.iterdir()) == []


def test_moved_workspace_keeps_its_subnets_with_their_files(registered, workspace, tmp_path):
    moved = workspace.rename(tmp_path / "elsewhere")
    registry = open_registry(moved)
    assert registry.list_subnets() == (registered,)
    client = MlflowClient(registry.tracking_uri)
    source = client.get_model_version("ofa-tiny-cpu", "1").source
    model = client.get_logged_model(source.removeprefix("models:/"))
    assert model.artifact_location.startswith(moved.as_uri())
    folder = registry.download(registered, tmp_path / "files")
    assert (folder / "model.onnx").exists()


def test_copied_workspace_writes_into_itself(registered, workspace, tmp_path):
    copy = shutil.copytree(workspace, tmp_path / "copy")
    before = sorted(path for path in workspace.rglob("*") if "mlruns" in path.parts)
    second = open_registry(copy).register(subnet_record(accuracy=0.95), tmp_path / "a-bundle")
    assert second.version == 2
    after = sorted(path for path in workspace.rglob("*") if "mlruns" in path.parts)
    assert after == before
    assert len(open_registry(workspace).list_subnets()) == 1


def test_other_workspace_that_registers_here_keeps_its_files_where_they_are(
    registered, workspace, tmp_path, monkeypatch
):
    other = tmp_path / "other"
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
        record = subnet_record(
            model_name="ofa-other-cpu", bundle_digest=registered.record.bundle_digest
        )
        theirs = open_registry(other, experiment="other").register(record, tmp_path / "a-bundle")
    registry = open_registry(workspace)
    for subnet in (theirs, registered):
        assert registry.download(subnet, tmp_path / subnet.record.model_name).exists()
    assert list((other / "mlruns").rglob("model.onnx"))


def test_store_that_is_named_later_takes_no_files_over(
    registered, workspace, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "s3://bucket/files")
    assert open_registry(workspace).download(registered, tmp_path / "files").exists()


def test_file_that_is_no_database_is_refused_where_it_is_opened(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"x" * 5000)
    with pytest.raises(RegistryError, match="must be the registry of this workspace"):
        open_registry(tmp_path)


def test_database_of_another_program_is_left_alone(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"")
    assert open_registry(tmp_path).tracking_uri.endswith("mlflow.db")
    assert (tmp_path / "mlflow.db").read_bytes() == b""


@pytest.mark.parametrize("name", ["it's a#b%20c", 'what?%41 "größe"'])
def test_workspace_may_have_any_name(name, tmp_path, empty_database, monkeypatch):
    workspace = tmp_path / name
    workspace.mkdir()
    shutil.copyfile(empty_database, workspace / "mlflow.db")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    bundle = write_bundle(tmp_path / "a-bundle")
    record = subnet_record(bundle_digest=digest_of(bundle))
    registered = open_registry(workspace).register(record, bundle)
    registry = open_registry(workspace)
    assert registry.best(device="cpu", max_latency_ms=5) == registered
    assert (registry.download(registered, tmp_path / "files") / "model.onnx").exists()
    assert list((workspace / "mlruns").rglob("model.onnx"))
    with ambient_tracking_uri(registry.tracking_uri):
        model = mlflow.pyfunc.load_model(registered.model_uri, dst_path=str(elsewhere))
    assert len(model.predict(np.zeros((2, 8, 8, 3), np.uint8))) == 2
    assert {path.name for path in workspace.iterdir()} == {"mlflow.db", "mlflow.db.lock", "mlruns"}
    # Nothing was made where the command was typed, under a part of the name.
    assert {path.name for path in tmp_path.iterdir()} == {name, "elsewhere", "a-bundle", "files"}


def test_download_draws_no_bars_where_only_a_look_up_came_before(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", raising=False)
    with ambient_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}"):
        assert not MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.get()
