"""What the runs of a registry show, read from the artifacts of a workspace."""

import os
from pathlib import Path

import pytest

from ofa_pipeline.artifacts import Layout, Manifest, write_artifact
from ofa_pipeline.params import load_params
from ofa_pipeline.registry.notes import dataset_notes, phase_notes, source_tags
from tests.support.report_workspace import PHASES, write_report_workspace

ROOT = Path(__file__).parents[3]


@pytest.fixture
def layout(tmp_path):
    write_report_workspace(tmp_path)
    return Layout(tmp_path)


def lineage_of(layout):
    folders = [layout.dataset, *(layout.supernet(phase) for phase in PHASES)]
    return {layout.relative(folder): Manifest.read(folder, made_by="").digest for folder in folders}


def notes_of(layout):
    return phase_notes(layout, lineage_of(layout), dataset=None)


def test_phases_come_in_the_order_of_training_with_their_curves(layout):
    largest, elastic = notes_of(layout)
    assert [largest.name, elastic.name] == ["train_supernet largest", "train_supernet elastic"]
    for note in (largest, elastic):
        assert {len(points) for points in note.curves.values()} == {len(note.curves["loss"])}
        assert set(note.curves) == {
            "loss",
            "learning_rate",
            "accuracy_top1_largest",
            "accuracy_top1_smallest",
        }
        assert note.tags["mlflow.project.entryPoint"] == "train_supernet"
        assert note.tags["mlflow.source.name"].startswith("ofa-pipeline stage train_supernet --i")


def test_phase_ended_before_the_next_one_began_whatever_copying_does_to_files(layout):
    for phase in PHASES:
        os.utime(layout.supernet(phase) / Layout.MANIFEST, (1e9, 1e9))
    largest, elastic = notes_of(layout)
    assert elastic.ended_s == 1e9
    assert largest.ended_s == 1e9 - elastic.duration_s


def test_seconds_of_a_phase_are_its_duration(layout):
    folder = layout.seconds / "train_supernet" / "elastic"
    with write_artifact(
        folder, stage="train_supernet", item="elastic", params={}, inputs=[]
    ) as writer:
        writer.summary |= {"cpu_s": 30.0, "wall_s": 20.0, "is_complete": True, "on_cuda": False}
    elastic = notes_of(layout)[-1]
    assert elastic.duration_s == 20.0
    assert elastic.metrics == {"cpu_s": 30.0, "wall_s": 20.0}


def test_phase_that_was_made_anew_since_is_left_out(layout):
    lineage = lineage_of(layout) | {layout.relative(layout.supernet("elastic")): "0ther"}
    [only] = phase_notes(layout, lineage, dataset=None)
    assert only.name == "train_supernet largest"


def test_dataset_that_was_made_anew_since_is_none(layout):
    digest = Manifest.read(layout.dataset, made_by="").digest
    params = load_params(ROOT / "params.yaml")
    assert dataset_notes(layout, params, digest="0ther") is None
    found = dataset_notes(layout, params, digest=digest)
    assert (found.name, found.source) == ("fashion-mnist-sample", "fashion_mnist_sample")
    assert found.short_digest == digest[:36]


def test_commit_is_that_of_the_workspace_where_it_has_one(tmp_path):
    assert "mlflow.source.git.commit" not in source_tags(tmp_path, stage="report", item="")
