"""What an artifact was made from."""

import pytest

from ofa_pipeline.artifacts import Layout, Manifest, write_artifact
from ofa_pipeline.errors import MissingArtifactError
from ofa_pipeline.specialize import trace_lineage, trace_phases


def write(workspace, name, *, inputs=(), params=None):
    folder = workspace / "artifacts" / name
    paths = [workspace / "artifacts" / path for path in inputs]
    with write_artifact(folder, stage=name, item=None, params=params or {}, inputs=paths) as writer:
        (writer.folder / "file").write_text(name)
    return Manifest.read(folder, made_by="a test").digest


@pytest.fixture
def chain(tmp_path):
    return {
        "artifacts/dataset": write(tmp_path, "dataset"),
        "artifacts/largest": write(tmp_path, "largest", inputs=["dataset", "dataset/file"]),
        "artifacts/expand": write(tmp_path, "expand", inputs=["dataset", "largest"]),
        "artifacts/search": write(tmp_path, "search", inputs=["dataset", "expand"]),
    }


def test_lineage_reaches_back_to_the_dataset(tmp_path, chain):
    assert trace_lineage(tmp_path, ["artifacts/search"]) == chain


def test_ancestor_that_was_made_anew_ends_the_trace_with_the_digest_that_was_used(tmp_path, chain):
    write(tmp_path, "expand", inputs=["dataset", "largest"], params={"seed": 1})
    found = trace_lineage(tmp_path, ["artifacts/search"])
    assert found["artifacts/expand"] == chain["artifacts/expand"]
    assert "artifacts/largest" not in found


def test_missing_artifact_is_named(tmp_path):
    with pytest.raises(MissingArtifactError, match="search"):
        trace_lineage(tmp_path, ["artifacts/search"])


def test_phases_come_in_the_order_of_training(tmp_path):
    layout = Layout(tmp_path)
    dataset = layout.dataset
    for name, inputs in [
        (None, []),
        ("zero", [dataset]),
        ("middle", [dataset, layout.supernet("zero")]),
        ("last", [dataset, layout.supernet("middle")]),
    ]:
        folder = dataset if name is None else layout.supernet(name)
        with write_artifact(folder, stage="a test", item=name, params={}, inputs=inputs):
            pass
    assert trace_phases(layout, "last") == ["zero", "middle", "last"]
    assert trace_phases(layout, "zero") == ["zero"]
