import json
import shutil

import pytest

from ofa_pipeline.artifacts import write_artifact
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.report import load_contents, write_report
from ofa_pipeline.run_warnings import RunWarning
from ofa_pipeline.stopwatch import FINISHED_KEY, Seconds
from tests.support.report_workspace import (
    CLASS_NAMES,
    DEVICES,
    PHASES,
    SPACE,
    archs,
    write_report_workspace,
)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("workspace")
    return write_report_workspace(root)


@pytest.fixture
def folders(tmp_path):
    return write_report_workspace(tmp_path)


@pytest.fixture(scope="module")
def contents(pristine):
    return load_contents(pristine, title="A title")


def test_contents_hold_every_phase_and_device(contents):
    assert [phase.name for phase in contents.phases] == list(PHASES)
    assert [device.name for device in contents.devices] == list(DEVICES)
    assert contents.title == "A title"


def test_rates_of_phases_are_those_of_the_batch_that_was_trained_with(contents):
    # The phases say 0.1 for 32 images a step; 128 raise it by the square root.
    assert {phase.learning_rate for phase in contents.phases} == {0.2}


def test_dataset_and_space_come_from_their_artifacts(contents):
    assert contents.dataset.class_names == CLASS_NAMES
    assert contents.dataset.total_images == 20
    assert contents.dataset.num_unreadable == 1
    assert contents.space == SPACE


def test_percentage_points_become_fractions(contents):
    assert contents.predictor.rmse == pytest.approx(0.005)
    assert contents.predictor.noise_std == pytest.approx(0.002)
    assert contents.predictor.regret == pytest.approx(0.001)
    assert contents.devices[0].search.noise_std == pytest.approx(0.002)


def test_subnets_are_ordered_by_latency_and_have_their_worst_verdict(contents):
    subnets = contents.devices[0].subnets
    assert [subnet.p50_ms for subnet in subnets] == [1.0, 2.0]
    assert {subnet.verdict for subnet in subnets} == {"within_noise"}
    assert subnets[0].within_budget
    assert subnets[0].arch == archs()[0]


def test_confusion_counts_the_predictions_of_the_best_subnet(contents):
    assert contents.confusion.subnet.accuracy_top1 == 0.75
    assert contents.confusion.counts == ((1, 1), (0, 2))


def test_files_are_named_relative_to_the_workspace(contents):
    assert contents.dataset.file == "artifacts/dataset/manifest.json"
    assert contents.devices[0].latency.files[0] == (
        "artifacts/latency/cpu-onnxruntime/samples.parquet"
    )


def test_lineage_says_what_each_artifact_was_made_from(contents):
    made_from = {artifact.path: artifact.made_from for artifact in contents.artifacts}
    assert made_from["artifacts/supernet/elastic"] == ("artifacts/dataset",)
    assert made_from["artifacts/predictor"] == ("artifacts/accuracy",)
    assert len(made_from) == 4 + len(PHASES) - 1 + 4 * len(DEVICES)


def test_equal_artifacts_give_equal_files(contents, folders, tmp_path):
    write_report(contents, tmp_path / "one")
    write_report(load_contents(folders, title="A title"), tmp_path / "other")
    one = sorted(path for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(one) == 1 + 2 + 4 + 6
    for path in one:
        assert (tmp_path / "other" / path.relative_to(tmp_path / "one")).read_bytes() == (
            path.read_bytes()
        )


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("dataset", "prepare_dataset"),
        ("supernet/elastic", "train_supernet --item elastic"),
        ("predictor", "fit_predictor"),
        ("accuracy", "collect_accuracy"),
        ("latency/cpu-pytorch", "profile_latency --item cpu-pytorch"),
        ("search/cpu-pytorch", "search --item cpu-pytorch"),
        ("subnets/cpu-pytorch", "specialize --item cpu-pytorch"),
        ("registry/cpu-pytorch", "register --item cpu-pytorch"),
    ],
)
def test_missing_artifact_is_named_with_the_command_that_makes_it(folders, path, command):
    shutil.rmtree(folders.root / "artifacts" / path)
    with pytest.raises(MissingArtifactError) as caught:
        load_contents(folders, title="A title")
    assert path in str(caught.value)
    assert command in str(caught.value) or "ofa-pipeline run" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("dataset/classes.json", "class_names"),
        ("dataset/summary.json", "modes"),
        ("predictor/report.json", "rmse_points"),
        ("latency/cpu-pytorch/profile.json", "device"),
        ("latency/cpu-pytorch/model.json", "report"),
        ("search/cpu-pytorch/picks.json", "picks"),
        ("subnets/cpu-pytorch/bundles.json", "bundles"),
        ("registry/cpu-pytorch/receipts.json", "receipts"),
    ],
)
def test_document_without_a_needed_key_is_named_with_the_key(folders, path, key):
    file = folders.root / "artifacts" / path
    values = json.loads(file.read_text())
    del values[key]
    file.write_text(json.dumps(values))
    with pytest.raises(ManifestMismatchError, match=key) as caught:
        load_contents(folders, title="A title")
    assert "ofa-pipeline stage" in str(caught.value)


def test_device_without_bundles_is_an_error(folders):
    file = folders.root / "artifacts/subnets/cpu-pytorch/bundles.json"
    file.write_text(json.dumps({"device": "cpu-pytorch", "bundles": [], "picks": []}))
    with pytest.raises(ManifestMismatchError, match="at least one bundle"):
        load_contents(folders, title="A title")


@pytest.mark.parametrize(
    "content", [None, b"not safetensors"], ids=["missing", "not a safetensors file"]
)
def test_supernet_that_cannot_be_read_is_an_error(folders, content):
    file = folders.root / "artifacts/supernet/elastic/supernet.safetensors"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises((MissingArtifactError, ManifestMismatchError), match="train_supernet"):
        load_contents(folders, title="A title")


def test_predictions_of_unknown_classes_are_an_error(folders):
    file = folders.root / "artifacts/dataset/classes.json"
    file.write_text(json.dumps({"class_names": ["cat"]}))
    with pytest.raises(ManifestMismatchError, match="1 classes"):
        load_contents(folders, title="A title")


def test_warnings_of_every_artifact_are_told(tmp_path):
    warning = RunWarning(stage="train_supernet", item="elastic", message="Worse.")
    folders = write_report_workspace(tmp_path, warnings={"elastic": warning})
    contents = load_contents(folders, title="A title")
    assert contents.warnings[-1] == warning
    of_dataset = [item.text for item in contents.warnings[:-1]]
    assert of_dataset == list(contents.dataset.summary.warnings)


@pytest.mark.parametrize(
    ("start_from", "weights"),
    [("initial", "published: ofa_mbv3_d234_e346_k357_w1.0"), ("dataset", None)],
)
def test_phase_says_what_weights_training_started_from(folders, start_from, weights):
    file = folders.phases["largest"] / "manifest.json"
    values = json.loads(file.read_text())
    values["params"]["phases.largest"]["start_from"] = start_from
    named = {"published": "ofa_mbv3_d234_e346_k357_w1.0"}
    values["params"]["training"]["initial_weights"] = named
    del values["digest"]
    file.write_text(json.dumps(values))
    first, *_ = load_contents(folders, title="A title").phases
    assert first.initial_weights == weights


def test_moment_beside_the_seconds_says_when_subnets_were_made(folders):
    device = "cpu-pytorch"
    subnets = folders.devices[device].subnets
    with write_artifact(
        folders.seconds / "specialize" / device,
        stage="specialize",
        item=device,
        params={},
        inputs=[subnets],
    ) as writer:
        writer.summary |= Seconds(cpu_s=3.0).to_dict() | {FINISHED_KEY: "2026-01-31T12:59:07+00:00"}
    cost = load_contents(folders, title="A title").cost
    assert cost.made(device) == cost.finished == "2026-01-31T12:59:07+00:00"
    assert cost.made("cpu-onnxruntime") is None
