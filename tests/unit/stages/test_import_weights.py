"""The stage `import_weights`, and training that starts from what it writes."""

import dataclasses
import shutil

import pytest
import torch

from ofa_pipeline.artifacts import Layout, Manifest, verify_artifact
from ofa_pipeline.errors import CheckpointError, MissingArtifactError, ParamsError
from ofa_pipeline.params import parse_params
from ofa_pipeline.progress import Reporter
from ofa_pipeline.spaces import mobilenet_v3_small_images
from ofa_pipeline.stages import STAGES, find_stage, items_of, run_stage
from ofa_pipeline.supernet import load_supernet
from tests.support.trained_workspace import context_of, prepared_workspace
from tests.support.weights import write_supernet


def starting_from(values, kind, text):
    """Return params whose only phase is elastic at once, from weights."""
    changed = {**values, "training": {**values["training"], "initial_weights": {kind: text}}}
    expand = {**values["phases"]["expand"], "start_from": "initial"}
    return {**changed, "phases": {"expand": expand}}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A workspace with images of two classes, weights of three, and params that start from them."""
    root = tmp_path_factory.mktemp("initial")
    values = prepared_workspace(root)
    write_supernet(root / "own.safetensors", space_of(values), num_classes=3)
    return root, values


def space_of(values):
    shape = {key: value for key, value in values["space"].items() if key != "family"}
    return mobilenet_v3_small_images(**shape)


@pytest.fixture
def workspace(prepared, tmp_path):
    root, values = prepared
    shutil.copytree(root, tmp_path / "workspace")
    return tmp_path / "workspace", starting_from(values, "supernet", "own.safetensors")


def test_without_weights_there_is_nothing_to_do(prepared):
    root, values = prepared
    context = context_of(root, values)
    assert items_of(find_stage("import_weights"), context.params) == ()
    with pytest.raises(ParamsError, match=r"nothing to do: params.yaml names no kind of weights"):
        run_stage("import_weights", context)


def test_it_writes_a_supernet_of_the_classes_of_the_dataset_and_says_so(workspace):
    root, values = workspace
    events = []
    context = dataclasses.replace(
        context_of(root, values, "supernet"), reporter=Reporter(events.append)
    )
    folder = run_stage("import_weights", context)
    manifest = verify_artifact(folder)
    assert manifest.summary["is_classifier_new"]
    assert manifest.summary["num_classes_of_weights"] == 3
    line = f"{manifest.summary['text']} (SHA-256 {manifest.summary['sha256']})"
    assert "3 classes there, 2 here: the classifier is new" in line
    assert line in [event.label for event in events]
    given = load_supernet(root / "own.safetensors")
    written = load_supernet(Layout(root).supernet_in("initial"))
    assert written.num_classes == 2
    assert torch.equal(written.final.conv.weight, given.final.conv.weight)


def test_training_starts_elastic_from_it(workspace):
    root, values = workspace
    run_stage("import_weights", context_of(root, values, "supernet"))
    values["phases"]["expand"] |= {"learning_rate": 1e-12}
    folder = run_stage("train_supernet", context_of(root, values, "expand"))
    manifest = Manifest.read(folder, made_by="test")
    initial = Manifest.read(Layout(root).initial, made_by="test")
    assert manifest.inputs["artifacts/initial"] == initial.digest
    trained = load_supernet(Layout(root).supernet_weights("expand"))
    given = load_supernet(root / "own.safetensors")
    torch.testing.assert_close(trained.final.conv.weight, given.final.conv.weight)


def test_a_killed_phase_ends_with_the_same_supernet(workspace):
    root, values = workspace
    values["compute"] = {"training": {"checkpoint_minutes": 1e-9}}
    run_stage("import_weights", context_of(root, values, "supernet"))
    context = context_of(root, values, "expand")
    whole = Manifest.read(run_stage("train_supernet", context), made_by="test")
    shutil.rmtree(Layout(root).supernet("expand"))

    def fail(event):
        if event.done == 12:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run_stage(
            "train_supernet", dataclasses.replace(context, reporter=Reporter(fail, interval_s=0))
        )
    assert Manifest.read(run_stage("train_supernet", context), made_by="test") == whole


def test_training_knows_the_weights_by_what_they_are_not_by_what_they_are_called(workspace):
    root, values = workspace
    run_stage("import_weights", context_of(root, values, "supernet"))
    context = context_of(root, values, "expand")
    manifest = Manifest.read(run_stage("train_supernet", context), made_by="test")
    assert "initial_weights" not in manifest.params["training"]


def test_an_import_is_the_same_artifact_each_time(workspace):
    root, values = workspace
    context = context_of(root, values, "supernet")
    first = Manifest.read(run_stage("import_weights", context), made_by="test")
    shutil.rmtree(Layout(root).initial)
    assert Manifest.read(run_stage("import_weights", context), made_by="test") == first


def test_training_without_the_import_says_what_is_missing(workspace):
    root, values = workspace
    with pytest.raises(MissingArtifactError, match="artifacts/initial"):
        run_stage("train_supernet", context_of(root, values, "expand"))


def test_weights_that_do_not_fit_leave_nothing(workspace):
    root, values = workspace
    values["space"] = {**values["space"], "head_channels": [16, 24]}
    with pytest.raises(CheckpointError, match=r"feature_mix_channels 24 in params.yaml, 16 in the"):
        run_stage("import_weights", context_of(root, values, "supernet"))
    assert not Layout(root).initial.exists()


def test_without_weights_every_section_of_the_params_is_as_before(prepared):
    _, values = prepared
    params = parse_params(values, origin="test")
    sections = [name for stage in STAGES for name in stage.params if "{" not in name]
    assert "initial_weights" not in str(params.sections(tuple(sections)))
