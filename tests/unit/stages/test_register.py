"""The stage register against a registry in memory."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ofa_pipeline.artifacts import Layout, write_artifact, write_json
from ofa_pipeline.documents import ComputeCost
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError, RegistryError
from ofa_pipeline.params import load_params
from ofa_pipeline.progress import SILENT
from ofa_pipeline.registry import (
    ModelNames,
    check_registry,
    missing_from,
    read_entries,
    registered_subnets,
)
from ofa_pipeline.run_warnings import RunWarning, keep_warnings
from ofa_pipeline.stages import StageContext, StageRun, find_stage
from ofa_pipeline.stages import register as stage_module
from ofa_pipeline.stages.register import missing_outside
from ofa_pipeline.stopwatch import Stopwatch
from tests.support import documents as samples
from tests.support.registry import InMemoryRegistry, subnet_record, write_bundle

ROOT = Path(__file__).parents[3]
DEVICE = "cpu-pytorch"
DATASET = "fashion-mnist-sample"
MODEL = f"ofa-{DATASET}-tiny-{DEVICE}"
NAMES = ModelNames(prefix="ofa", dataset=DATASET)


def index_entry(record, name):
    """Return what the stage specialize notes of a bundle."""
    whole = samples.card(record.arch.arch_id, device=DEVICE, p50_ms=record.latency_ms)
    accuracy = ("accuracy_top1", "accuracy_top5", "num_test_images", "accuracy_top1_selection")
    parity = {
        "max_abs_difference": record.parity_max_abs_difference,
        "top1_agreement": record.parity_top1_agreement,
    }
    return samples.bundle_entry(
        record.arch,
        whole,
        name=name,
        accuracy=whole.accuracy.model_copy(update={key: getattr(record, key) for key in accuracy}),
        cost=ComputeCost(macs=record.macs, num_params=record.num_params),
        parity=whole.parity.model_copy(update=parity),
        **{key: getattr(record, key) for key in ("space_id", "num_classes", "budgets_ms")},
        **{key: getattr(record, key) for key in ("bundle_digest", "lineage")},
    )


def records():
    return [
        subnet_record(
            device=DEVICE,
            latency_ms=latency_ms,
            accuracy=accuracy,
            model_name=MODEL,
            dataset=DATASET,
        )
        for latency_ms, accuracy in [(1.0, 0.8), (2.0, 0.9)]
    ]


@pytest.fixture(autouse=True)
def no_registry_of_the_user(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def write_subnets(layout, *, warnings=()):
    params = {"space": {"family": "tiny"}, "specialize": {"epochs": 1, "names": ["a"]}}
    with write_artifact(
        layout.subnets(DEVICE), stage="specialize", item=DEVICE, params=params, inputs=[]
    ) as writer:
        bundles = []
        for number, record in enumerate(records()):
            write_bundle(writer.folder / f"bundle-{number}")
            bundles.append(index_entry(record, f"bundle-{number}"))
        index = samples.bundle_index(DEVICE, *bundles)
        write_json(writer.folder / layout.BUNDLES, index.to_dict())
        keep_warnings(warnings, writer, SILENT)


@pytest.fixture
def context(tmp_path):
    layout = Layout(tmp_path)
    write_subnets(layout)
    return StageContext(layout=layout, params=load_params(ROOT / "params.yaml"), item=DEVICE)


def register(context, registry):
    run = StageRun.begin(find_stage("register"), context, Stopwatch())
    return stage_module.register(run, registry)


def receipts_of(context):
    return context.layout.registry(DEVICE) / Layout.RECEIPTS


def test_every_bundle_is_registered_with_all_figures(context):
    registry = InMemoryRegistry()
    registered = register(context, registry)
    assert [replace(item.record, num_bytes=None) for item in registered] == records()
    assert all(item.record.num_bytes for item in registered)
    [run] = registry.runs
    assert run.metrics["num_subnets"] == 2
    assert run.params["specialize.epochs"] == "1"
    assert run.params["space.family"] == "tiny"


def test_run_of_the_registry_bears_the_warnings(context):
    warning = RunWarning(stage="specialize", item=DEVICE, message="Worse.", advice="Train longer.")
    write_subnets(context.layout, warnings=[warning])
    registry = InMemoryRegistry()
    register(context, registry)
    assert registry.runs[0].tags["ofa.warnings"] == "Worse. Train longer."


def test_run_without_warnings_bears_none(context):
    registry = InMemoryRegistry()
    register(context, registry)
    assert "ofa.warnings" not in registry.runs[0].tags


def test_receipts_say_the_same_on_every_server(context):
    first, second = InMemoryRegistry(), InMemoryRegistry()
    second.register(subnet_record(device=DEVICE, accuracy=0.5, model_name=MODEL), Path())
    register(context, first)
    before = receipts_of(context).read_bytes()
    registered = register(context, second)
    assert [item.version for item in registered] == [2, 3]
    assert receipts_of(context).read_bytes() == before
    assert "version" not in before.decode()


def test_renamed_dataset_is_registered_under_its_new_name(context):
    registry = InMemoryRegistry()
    register(context, registry)
    dataset = context.params.dataset.model_copy(update={"name": "clothes"})
    renamed = replace(context, params=context.params.model_copy(update={"dataset": dataset}))
    registered = register(renamed, registry)
    assert {item.record.model_name for item in registered} == {f"ofa-clothes-tiny-{DEVICE}"}
    assert {item.record.dataset for item in registered} == {"clothes"}
    assert "ofa-clothes-tiny" in receipts_of(context).read_text()


def test_second_run_registers_nothing(context):
    registry = InMemoryRegistry()
    first = register(context, registry)
    assert register(context, registry) == first
    assert len(registry.runs) == 1
    assert missing_from(registry, receipts_of(context)) == ()


def test_new_server_lacks_what_the_receipts_claim_until_the_next_run(context):
    register(context, InMemoryRegistry())
    new = InMemoryRegistry()
    assert missing_from(new, receipts_of(context)) == ("bundle-0", "bundle-1")
    register(context, new)
    assert missing_from(new, receipts_of(context)) == ()


def test_foreign_model_of_the_same_name_stops_the_stage_without_receipts(context):
    with pytest.raises(RegistryError, match="not made by this pipeline"):
        register(context, InMemoryRegistry(foreign_models=[MODEL]))
    assert not receipts_of(context).exists()


def test_bundle_that_was_changed_is_not_registered(context):
    (context.layout.subnets(DEVICE) / "bundle-0" / "model.onnx").write_bytes(b"other")
    registry = InMemoryRegistry()
    with pytest.raises(ManifestMismatchError, match="changed after it was written"):
        register(context, registry)
    assert registry.list_subnets() == ()


def test_without_receipts_nothing_is_claimed(tmp_path):
    params = load_params(ROOT / "params.yaml")
    assert missing_outside(Layout(tmp_path), params, DEVICE) == ()


def test_receipts_of_a_lost_registry_are_all_missing(context):
    register(context, InMemoryRegistry())
    missing = missing_outside(context.layout, context.params, DEVICE)
    assert missing == ("bundle-0", "bundle-1")
    assert registered_subnets(context.layout, context.params, DEVICE) == ()


def test_receipts_under_another_name_are_missing_until_the_stage_ran(context, monkeypatch):
    registry, params = InMemoryRegistry(), context.params
    monkeypatch.setattr("ofa_pipeline.registry.receipts.open_registry", lambda *_, **__: registry)
    name = ModelNames.of(params).name(space_id=params.space.build().space_id, device=DEVICE)
    record = subnet_record(device=DEVICE, model_name=name)
    registry.register(record, Path())
    claimed = {"bundle": "a", "model_name": name, "bundle_digest": record.bundle_digest}
    receipt = samples.receipts().receipts[0].model_copy(update=claimed)
    write_json(receipts_of(context), samples.receipts(receipt).to_dict())
    assert missing_outside(context.layout, params, DEVICE) == ()
    dataset = params.dataset.model_copy(update={"name": "clothes"})
    renamed = params.model_copy(update={"dataset": dataset})
    assert missing_outside(context.layout, renamed, DEVICE) == ("a",)


def test_unreachable_server_is_found_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(RegistryError, match="must be reachable"):
        check_registry(Layout(tmp_path), load_params(ROOT / "params.yaml"))


def test_index_that_is_not_one_is_refused(context):
    folder = context.layout.subnets(DEVICE)
    (folder / "bundles.json").write_text(json.dumps({"bundles": [{}], "device": DEVICE}))
    with pytest.raises(ManifestMismatchError, match=r"bundles\.0\.name is missing"):
        read_entries(folder, names=NAMES)


def test_missing_subnets_are_named(tmp_path):
    context = StageContext(
        layout=Layout(tmp_path), params=load_params(ROOT / "params.yaml"), item=DEVICE
    )
    with pytest.raises(MissingArtifactError, match=f"subnets/{DEVICE}"):
        register(context, InMemoryRegistry())
