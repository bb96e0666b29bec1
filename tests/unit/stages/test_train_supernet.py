import dataclasses
import itertools
import json
import shutil

import pytest
import torch

from ofa_pipeline.artifacts import Layout, Manifest, verify_artifact
from ofa_pipeline.data import open_dataset
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.evaluation import LargestSubnet
from ofa_pipeline.progress import Reporter
from ofa_pipeline.run_warnings import read_warnings
from ofa_pipeline.stages import run_stage
from ofa_pipeline.supernet import load_supernet
from ofa_pipeline.tables import HISTORY_SCHEMA, read_table
from tests.support.images import encoded, noise
from tests.support.trained_workspace import context_of, prepared_workspace, smallest_params


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace with the first phase trained, and its params."""
    root = tmp_path_factory.mktemp("trained")
    values = prepared_workspace(root)
    run_stage("train_supernet", context_of(root, values, "largest"))
    return root, values


@pytest.fixture
def workspace(trained, tmp_path):
    root, values = trained
    shutil.copytree(root, tmp_path / "workspace")
    return tmp_path / "workspace", values


def test_a_phase_writes_weights_and_history(trained):
    root, _ = trained
    layout = Layout(root)
    manifest = verify_artifact(layout.supernet("largest"))
    history = read_table(layout.supernet_history("largest"), HISTORY_SCHEMA).to_pylist()
    assert [row["epoch"] for row in history] == [1]
    assert manifest.summary["accuracy_top1_largest"] == history[-1]["accuracy_top1_largest"]
    assert list(manifest.inputs) == ["artifacts/dataset"]
    assert not any((root / "scratch" / "train_supernet").iterdir())


def test_the_stored_statistics_are_those_of_the_largest_subnet(trained):
    root, _ = trained
    supernet = load_supernet(Layout(root).supernet_weights("largest"))
    assert not torch.equal(supernet.stem.norm.running_mean, torch.zeros(8))


def test_a_phase_starts_from_the_one_before(workspace):
    root, values = workspace
    folder = run_stage("train_supernet", context_of(root, values, "expand"))
    manifest = Manifest.read(folder, made_by="test")
    before = Manifest.read(Layout(root).supernet("largest"), made_by="test")
    assert manifest.inputs["artifacts/supernet/largest"] == before.digest


def often(values):
    """Return params by which a checkpoint is written after each step."""
    return values | {"compute": {"training": {"checkpoint_minutes": 1e-9}}}


def seldom_of(values):
    return values | {"compute": {"training": {"checkpoint_minutes": 60}}}


def test_an_interrupted_phase_gives_the_artifact_of_an_uninterrupted_one(workspace, trained):
    root, values = workspace
    expected = Manifest.read(Layout(trained[0]).supernet("largest"), made_by="test").digest
    shutil.rmtree(Layout(root).supernet("largest"))
    values = often(values)

    def fail_in_third_step(event):
        if event.done == 12:
            raise RuntimeError("killed")

    context = context_of(root, values, "largest")
    failing = dataclasses.replace(context, reporter=Reporter(fail_in_third_step, interval_s=0))
    with pytest.raises(RuntimeError, match="killed"):
        run_stage("train_supernet", failing)
    events = []
    again = dataclasses.replace(context, reporter=Reporter(events.append, interval_s=0))
    folder = run_stage("train_supernet", again)
    assert events[0].done == 12  # two steps were in the checkpoint
    found = Manifest.read(folder, made_by="test")
    assert found.digest == expected


def test_a_phase_goes_on_when_checkpoints_are_written_more_seldom(workspace):
    root, values = workspace
    shutil.rmtree(Layout(root).supernet("largest"))
    context = context_of(root, often(values), "largest")
    with pytest.raises(RuntimeError, match="killed"):
        run_stage("train_supernet", stop_at(context, done=12, error=RuntimeError("killed")))
    events = []
    seldom = context_of(root, seldom_of(values), "largest")
    run_stage(
        "train_supernet",
        dataclasses.replace(seldom, reporter=Reporter(events.append, interval_s=0)),
    )
    assert events[0].done == 12


def test_a_phase_that_begins_anew_beside_a_checkpoint_says_so(workspace):
    root, values = workspace
    quick = often({**values, "training": {**values["training"], "momentum": 0.8}})
    context = context_of(root, quick, "largest")
    with pytest.raises(RuntimeError, match="killed"):
        run_stage("train_supernet", stop_at(context, done=12, error=RuntimeError("killed")))
    [left] = (root / "scratch" / "train_supernet").iterdir()
    events = []
    for told in (context_of(root, values, "largest"), context):
        run_stage("train_supernet", dataclasses.replace(told, reporter=Reporter(events.append)))
    texts = [event.label for event in events if event.label.startswith("begins anew")]
    assert len(texts) == 1  # not of the one that goes on from it
    assert str(left.relative_to(root)) in texts[0]


def resumed(context, *, at):
    """Kill a phase when so many images are done, and run it again."""

    def fail(event):
        if event.done == at:
            raise RuntimeError("killed")

    failing = dataclasses.replace(context, reporter=Reporter(fail, interval_s=0))
    with pytest.raises(RuntimeError, match="killed"):
        run_stage("train_supernet", failing)
    return run_stage("train_supernet", context)


def largest_of(folder):
    return LargestSubnet.from_summary(Manifest.read(folder, made_by="test").summary)


def test_a_phase_notes_what_it_did_to_the_largest_subnet(workspace):
    root, values = workspace
    first = largest_of(Layout(root).supernet("largest"))
    second = largest_of(run_stage("train_supernet", context_of(root, values, "expand")))
    num_images = open_dataset(Layout(root).dataset).split("selection").num_images
    assert first.num_images == second.num_images == num_images
    assert first.change is None
    # The weights that a phase starts from are those that the one before left.
    assert second.accuracy_top1_before == first.accuracy_top1_after
    assert second.accuracy_top1_first_phase == first.accuracy_top1_after
    assert second.difference == pytest.approx(
        second.accuracy_top1_after - second.accuracy_top1_before
    )


def test_a_killed_phase_notes_the_same(workspace):
    root, values = workspace
    values = often(values)
    context = context_of(root, values, "expand")
    whole = Manifest.read(run_stage("train_supernet", context), made_by="test")
    shutil.rmtree(Layout(root).supernet("expand"))
    again = Manifest.read(resumed(context, at=12), made_by="test")
    assert again == whole
    assert LargestSubnet.from_summary(again.summary) is not None


def write_light_and_dark(root):
    """Write images of two classes that a network learns at once."""
    for label, name in enumerate(("dark", "light")):
        (root / name).mkdir(parents=True)
        for index in range(120):
            pixels = noise(1000 * label + index, height=8, width=8) // 4 + 150 * label
            (root / name / f"{index:03d}.png").write_bytes(encoded(pixels.astype("uint8")))


def test_a_phase_that_unlearns_warns_at_once_and_in_its_artifact(tmp_path):
    values = smallest_params()
    values["phases"]["largest"] |= {"epochs": 3}
    write_light_and_dark(tmp_path / "pets")
    run_stage("prepare_dataset", context_of(tmp_path, values))
    first = largest_of(run_stage("train_supernet", context_of(tmp_path, values, "largest")))
    values["training"] |= {"weight_decay": 15.0}  # of each weight, three quarters a step
    events = []
    context = dataclasses.replace(
        context_of(tmp_path, values, "expand"), reporter=Reporter(events.append)
    )
    folder = run_stage("train_supernet", context)
    warning, chance = read_warnings(folder)
    assert "cannot be told from chance" in chance.message
    assert warning.address == "train_supernet@expand"
    assert warning.figures["accuracy_top1_before"] == first.accuracy_top1_after > 0.9
    assert warning.text in [event.label for event in events if event.is_warning]


def test_a_missing_phase_is_named(workspace):
    root, values = workspace
    shutil.rmtree(Layout(root).supernet("largest"))
    with pytest.raises(MissingArtifactError, match="supernet/largest"):
        run_stage("train_supernet", context_of(root, values, "expand"))


def test_a_supernet_of_another_space_is_refused(workspace):
    root, values = workspace
    values = {**values, "space": {**values["space"], "head_channels": [16, 24]}}
    with pytest.raises(ManifestMismatchError, match="another space"):
        run_stage("train_supernet", context_of(root, values, "expand"))


def seconds_of(root, item):
    folder = root / "artifacts" / "seconds" / "train_supernet" / item
    return Manifest.read(folder, made_by="test")


def test_seconds_lie_beside_the_supernet_and_name_its_digest(trained):
    root, _ = trained
    seconds = seconds_of(root, "largest")
    made = Manifest.read(Layout(root).supernet("largest"), made_by="test")
    assert seconds.inputs == {"artifacts/supernet/largest": made.digest}
    assert seconds.summary["cpu_s"] > 0
    assert seconds.summary["is_complete"]
    assert "cpu_s" not in made.summary  # two equal trainings are equal artifacts
    assert not any((root / "scratch" / "seconds").iterdir())


def stop_at(context, *, done, error):
    def stop(event):
        if event.done == done:
            raise error

    return dataclasses.replace(context, reporter=Reporter(stop, interval_s=0))


def test_a_resumed_phase_remembers_what_it_spent_before(workspace, monkeypatch):
    root, values = workspace
    values = often(values)
    context = context_of(root, values, "largest")
    ticks = itertools.count(step=1000)
    monkeypatch.setattr("time.process_time", lambda: next(ticks))
    with pytest.raises(RuntimeError, match="killed"):
        run_stage("train_supernet", stop_at(context, done=12, error=RuntimeError("killed")))
    [notes] = (root / "scratch" / "seconds").glob("*/seconds.jsonl")
    before = json.loads(notes.read_text().splitlines()[-1])[1]
    assert before["cpu_s"] > 0
    monkeypatch.setattr("time.process_time", lambda: 0.0)  # the second run costs nothing
    run_stage("train_supernet", context)
    found = seconds_of(root, "largest").summary
    assert found["cpu_s"] == before["cpu_s"]
    assert found["is_complete"]


def test_a_checkpoint_without_a_note_of_its_seconds_makes_them_incomplete(workspace):
    root, values = workspace
    values = often(values)
    context = context_of(root, values, "largest")
    with pytest.raises(RuntimeError, match="killed"):
        run_stage("train_supernet", stop_at(context, done=12, error=RuntimeError("killed")))
    shutil.rmtree(root / "scratch" / "seconds")
    run_stage("train_supernet", context)
    assert not seconds_of(root, "largest").summary["is_complete"]


def test_the_epochs_of_all_phases_are_told_with_those_that_few_images_add(workspace):
    root, values = workspace
    values["phases"]["expand"] |= {"min_steps": 30}
    folder = run_stage("train_supernet", context_of(root, values, "expand"))
    summary = Manifest.read(folder, made_by="test").summary
    history = read_table(Layout(root).supernet_history("expand"), HISTORY_SCHEMA)
    steps = open_dataset(Layout(root).dataset).split("train").num_images // 4
    assert history.num_rows == -(-30 // steps) > 1
    assert summary["total_epochs"] == 1 + history.num_rows
    assert summary["first_learning_rate"] == values["phases"]["largest"]["learning_rate"]
