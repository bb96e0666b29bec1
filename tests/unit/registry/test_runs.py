"""What the pages of MLflow show: runs, links, the dataset, the curves of training."""

import json
from dataclasses import replace

import pytest
from mlflow import MlflowClient
from mlflow.data import get_source

from ofa_pipeline.registry import Entry, RunNotes, open_registry
from ofa_pipeline.registry.claims import CLAIM_TAG
from ofa_pipeline.registry.protocol import DatasetNotes, WorkNotes
from ofa_pipeline.registry.runs import KIND_TAG, PARENT_TAG
from tests.support.registry import DATASET, MODEL, subnet_record, write_bundle

RECORDS = [subnet_record(accuracy=0.8, latency_ms=1), subnet_record(accuracy=0.9, latency_ms=2)]
PHASE = RECORDS[0].lineage["artifacts/supernet/expand_2"]


@pytest.fixture
def client(registry):
    return MlflowClient(registry.tracking_uri)


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "a-bundle")


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


@pytest.fixture
def notes(tmp_path, photos):
    params = tmp_path / "params.yaml"
    params.write_text("seed: 0\n")
    dataset = DatasetNotes(
        name="photos",
        digest=RECORDS[0].lineage[DATASET],
        source=f"image_folder:{photos}",
        image_size_px=16,
        num_classes=3,
        num_images={"train": 70, "test": 30},
    )
    phase = WorkNotes(
        kind="train_supernet",
        name="train_supernet expand_2",
        digest=PHASE,
        curves={"loss": [2.0, 1.5, 1.0]},
        metrics={"cpu_s": 90.0},
        duration_s=60.0,
        ended_s=1_700_000_000.0,
        dataset=dataset,
    )
    return RunNotes(
        name="register cpu",
        description="Subnets for cpu.",
        params={f"params.{index}": "x" for index in range(120)},
        metrics={"num_subnets": 2.0},
        tags={"mlflow.source.name": "ofa-pipeline stage register --item cpu"},
        dataset=dataset,
        files={"": (params,)},
        works=[phase],
    )


@pytest.fixture
def register(registry, bundle, notes):
    entries = [Entry(record=record, bundle_folder=bundle) for record in RECORDS]
    return lambda notes=notes: registry.register_all(entries, notes=notes)


def runs_by_kind(client):
    experiment = client.get_experiment_by_name("once-for-all")
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        found.setdefault(run.data.tags[KIND_TAG], []).append(run)
    return found


def test_experiment_is_one_of_model_training(register, client):
    register()
    tags = client.get_experiment_by_name("once-for-all").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert "Model training" in tags["mlflow.note.content"]


def test_run_of_a_registration_holds_its_notes(register, client):
    register()
    [run] = runs_by_kind(client)["registration"]
    assert (run.info.run_name, run.info.status) == ("register cpu", "FINISHED")
    assert len(run.data.params) == 120
    assert run.data.metrics == {"num_subnets": 2.0}
    assert run.data.tags["mlflow.note.content"] == "Subnets for cpu."
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["params.yaml"]
    assert CLAIM_TAG not in run.data.tags


def test_figures_of_each_subnet_are_in_a_run_of_its_own(register, client):
    register()
    [parent] = runs_by_kind(client)["registration"]
    runs = runs_by_kind(client)["subnet"]
    assert {run.data.tags[PARENT_TAG] for run in runs} == {parent.info.run_id}
    assert sorted(run.data.metrics["accuracy_top1"] for run in runs) == [0.8, 0.9]
    for run in runs:
        [model] = [client.get_logged_model(output.model_id) for output in run.outputs.model_outputs]
        assert model.source_run_id == run.info.run_id
        figures = {metric.key: metric.value for metric in model.metrics}
        assert figures == run.data.metrics
        assert run.data.tags["mlflow.source.name"] == "ofa-pipeline stage register --item cpu"
        assert CLAIM_TAG not in run.data.tags


def test_model_names_its_version_and_the_version_its_model_and_run(register, client):
    register()
    for version in client.search_model_versions(f"name='{MODEL}'"):
        model = client.get_logged_model(version.source.removeprefix("models:/"))
        named = [{"name": MODEL, "version": str(version.version)}]
        assert json.loads(model.tags["mlflow.modelVersions"]) == named
        assert model.tags["mlflow.note.content"] == version.description
        assert version.run_id == model.source_run_id
        assert f"runs/{version.run_id}?workflowType=machine_learning" in version.description


def test_card_leads_to_the_runs_of_the_training(register, client):
    register()
    [phase] = runs_by_kind(client)["train_supernet"]
    for version in client.search_model_versions(f"name='{MODEL}'"):
        assert f"[supernet/expand_2 `{PHASE[:12]}`](#/experiments/1/runs/{phase.info.run_id}" in (
            version.description
        )


def test_dataset_is_an_input_of_runs_and_of_the_models_that_were_tested_on_it(
    register, client, photos
):
    register()
    runs = runs_by_kind(client)
    for kind, context in (("registration", "training"), ("subnet", "testing")):
        for run in runs[kind]:
            [given] = run.inputs.dataset_inputs
            assert (given.dataset.name, given.tags[0].value) == ("photos", context)
            assert RECORDS[0].lineage[DATASET].startswith(given.dataset.digest)
            assert get_source(given.dataset).uri == str(photos)
            assert json.loads(given.dataset.profile)["num_images_train"] == 70
            schema = json.loads(given.dataset.schema)["mlflow_tensorspec"]
            assert "[-1, 16, 16, 3]" in schema["features"].replace("(", "[")
    for model in client.search_logged_models(["1"]):
        on = {metric.key: metric.dataset_name for metric in model.metrics}
        assert (on["accuracy_top1"], on["latency_p50_ms.cpu"]) == ("photos", None)


def test_subnet_of_another_dataset_is_not_said_to_be_tested_on_this_one(
    registry, client, bundle, notes
):
    record = subnet_record(lineage={DATASET: "0ther" * 12})
    registry.register_all([Entry(record=record, bundle_folder=bundle)], notes=notes)
    [run] = runs_by_kind(client)["subnet"]
    assert not run.inputs.dataset_inputs


def test_phase_of_training_is_a_run_with_a_point_each_epoch(register, client):
    register()
    [run] = runs_by_kind(client)["train_supernet"]
    points = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(1, 2.0), (2, 1.5), (3, 1.0)]
    assert run.info.end_time - run.info.start_time == 60_000
    assert run.data.metrics["cpu_s"] == 90.0


def test_registering_again_makes_no_run(register, client):
    for _ in range(2):
        register()
    counts = {kind: len(runs) for kind, runs in runs_by_kind(client).items()}
    assert counts == {"registration": 1, "subnet": 2, "train_supernet": 1}


def test_of_two_runs_of_the_same_work_one_stays(registry, client, notes, register):
    register()
    [work] = notes.works
    really, asked = MlflowClient.search_runs, []

    def see_nothing_at_first(self, *words, **named):
        asked.append(named["filter_string"])
        is_first = sum("FINISHED" in text for text in asked) == 1
        return [] if is_first and "FINISHED" in asked[-1] else really(self, *words, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MlflowClient, "search_runs", see_nothing_at_first)
        registry.log_work(work)
    assert sum("FINISHED" in text for text in asked) == 2  # before its run and after it
    assert len(runs_by_kind(client)["train_supernet"]) == 1


def test_killed_work_is_done_again_and_leaves_nothing(registry, client, notes, register):
    register(replace(notes, works=[]))
    [work] = notes.works
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MlflowClient, "log_batch", lambda *_, **__: 1 / 0)
        with pytest.raises(Exception, match="division"):
            registry.log_work(work)
    assert not registry.has_work(work.digest)
    assert "train_supernet" not in runs_by_kind(client)
    registry.log_work(work)
    assert registry.has_work(work.digest)


def test_failed_subnet_leaves_neither_run_nor_model(register, client):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MlflowClient, "create_model_version", lambda *_, **__: 1 / 0)
        with pytest.raises(Exception, match="division"):
            register()
    assert "subnet" not in runs_by_kind(client)
    assert client.search_logged_models(["1"]) == []
    register()
    assert len(runs_by_kind(client)["subnet"]) == 2


def test_pages_of_an_earlier_version_are_written_by_the_next_registration(
    register, client, workspace, notes
):
    register(replace(notes, works=[]))
    models = client.search_logged_models(["1"])
    for model in models:
        for tag in ("mlflow.modelVersions", "mlflow.note.content"):
            client.delete_logged_model_tag(model.model_id, tag)
    client.update_model_version(MODEL, "1", description="r8 d1: top-1 0.8")
    for key in ("ofa.lineage.artifacts/dataset", "macs", "latency_p95_ms.cpu", "my.tag"):
        client.set_model_version_tag(MODEL, "1", key, "1")
    before = open_registry(workspace).list_subnets()
    register()
    assert open_registry(workspace).list_subnets() == before
    version = client.get_model_version(MODEL, "1")
    assert "**Made from**" in version.description
    assert sorted(version.tags) == [
        "accuracy_top1",
        "latency_p50_ms",
        "my.tag",
        "ofa.bundle_digest",
    ]
    for model in client.search_logged_models(["1"]):
        assert "mlflow.modelVersions" in model.tags
