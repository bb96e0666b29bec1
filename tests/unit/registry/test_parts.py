"""Of a registry only that is read which a question is about, on real MLflow."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry import (
    Part,
    catalog,
    database_parts,
    open_registry,
    server_reader,
    tables,
)
from ofa_pipeline.registry.database_reader import DatabaseReader
from ofa_pipeline.registry.parts import PartTimes
from ofa_pipeline.registry.server_reader import ServerReader
from tests.support.registry import MODEL, latency_figures, subnet_record, write_bundle

OTHERS = 4
GPU = "ofa-tiny-gpu"


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "a-bundle")


@pytest.fixture
def filled(registry, bundle):
    """Two subnets of one device, and more of another."""
    mine = [registry.register(subnet_record(accuracy=value), bundle) for value in (0.7, 0.8)]
    for number in range(OTHERS):
        registry.register(subnet_record(device="gpu", accuracy=0.5 + number / 100), bundle)
    return mine


@pytest.fixture(params=["database", "server"])
def kind(request):
    return request.param


@pytest.fixture
def asked(filled, workspace, monkeypatch, kind):
    """Another process that asks, a database or as a server is read."""
    if kind == "server":
        monkeypatch.setattr(catalog, "is_database", lambda _: False)
    return open_registry(workspace)


@pytest.fixture
def records(monkeypatch):
    """The records that were read, each time."""
    read: list[str] = []

    def noting(whole):
        def noted(*given):
            found = whole(*given)
            read.append(found.model_uri)
            return found

        return noted

    monkeypatch.setattr(server_reader, "read_model", noting(server_reader.read_model))
    monkeypatch.setattr(tables, "read_record", noting(tables.read_record))
    return read


@pytest.fixture
def impatient(monkeypatch):
    """Nothing is held."""
    set_times(monkeypatch, hold_s=0.0, spend_s=600.0)


def set_times(monkeypatch, **times):
    for reader in (DatabaseReader, ServerReader):
        monkeypatch.setattr(reader, "part_times", PartTimes(**times))


@pytest.mark.parametrize(
    ("question", "number"),
    [
        (lambda asked: asked.best(device="cpu", max_latency_ms=9).version, 2),
        (lambda asked: len(asked.front(device="cpu")), 1),
        (lambda asked: len(asked.list_subnets(device="cpu")), 2),
    ],
)
def test_question_about_a_device_reads_what_was_measured_on_it(asked, records, question, number):
    assert question(asked) == number
    assert sorted(records) == [f"models:/{MODEL}/1", f"models:/{MODEL}/2"]


def test_version_is_read_alone(asked, filled, records):
    uri = f"models:/{MODEL}/1"
    assert asked.version(uri) == filled[0]
    assert asked.mark(filled[0], "ofa.stale") == ""  # its content is looked up again
    assert set(records) == {uri}
    asked.compare([uri, f"models:/{MODEL}/2"])
    assert set(records) == {uri, f"models:/{MODEL}/2"}


def test_subnet_that_was_measured_on_a_device_beside_its_own_is_of_both(asked, bundle):
    own = subnet_record(accuracy=0.9)
    both = replace(own, latency={**own.latency, "gpu": latency_figures(0.5)})
    registered = asked.register(both, bundle)
    for device in ("cpu", "gpu"):
        assert asked.choose(device=device) == registered


def test_subnet_whose_run_is_gone_with_its_figures_is_answered(asked, filled, workspace):
    with closing(sqlite3.connect(workspace / "mlflow.db")) as connection, connection:
        connection.execute("DELETE FROM logged_model_metrics")
    assert asked.best(device="cpu", max_latency_ms=9) == filled[1]


def test_all_is_read_for_a_question_without_a_device(asked, records):
    assert len(asked.list_subnets()) == 2 + OTHERS
    assert len(records) == 2 + OTHERS
    records.clear()
    assert asked.best(device="cpu", max_latency_ms=9).version == 2
    assert records == []


@pytest.mark.parametrize(
    ("question", "told"),
    [
        (lambda asked: asked.best(device="cpv", max_latency_ms=9), "cpu"),
        (lambda asked: asked.list_subnets(device="cpv"), "cpu"),
        (lambda asked: asked.version(f"models:/{MODEL}/77"), f"models:/{MODEL}/"),
        (lambda asked: asked.version("models:/it's/1"), r"has no models:/it's/1\."),
        (lambda asked: asked.version(f"models:/{MODEL}/{'9' * 5000}"), "has no"),
        (lambda asked: asked.version(MODEL), "should read models:/NAME/VERSION"),
    ],
)
def test_what_is_not_there_is_told_beside_what_is(asked, question, told):
    with pytest.raises(RegistryError, match=told):
        question(asked)


def test_part_is_held_for_as_long_as_a_change_may_stay_unseen(
    filled, workspace, registry, bundle, records, monkeypatch
):
    set_times(monkeypatch, hold_s=600.0, spend_s=600.0)
    asked = open_registry(workspace)
    assert asked.best(device="cpu", max_latency_ms=9).version == 2
    registry.register(subnet_record(accuracy=0.9), bundle)
    records.clear()
    assert asked.best(device="cpu", max_latency_ms=9).version == 2
    assert records == []


def test_change_by_another_is_seen(impatient, asked, registry, bundle, records):
    asked.best(device="cpu", max_latency_ms=9)
    better = registry.register(subnet_record(accuracy=0.9), bundle)
    records.clear()
    assert asked.best(device="cpu", max_latency_ms=9) == better
    MlflowClient(registry.tracking_uri).delete_model_version(MODEL, str(better.version))
    assert asked.best(device="cpu", max_latency_ms=9).version == 2
    assert f"models:/{GPU}/1" not in records


def test_version_that_was_deleted_within_the_second_is_not_answered(asked, registry):
    assert asked.best(device="cpu", max_latency_ms=9).version == 2
    MlflowClient(registry.tracking_uri).delete_model_version(MODEL, "2")
    assert asked.best(device="cpu", max_latency_ms=9).version == 1


def test_part_of_more_versions_than_are_asked_for_one_by_one_has_no_deleted_ones(
    asked, registry, monkeypatch
):
    monkeypatch.setattr(server_reader, "_FEW", 1)
    MlflowClient(registry.tracking_uri).delete_model_version(GPU, "2")
    assert [item.version for item in asked.list_subnets(device="gpu")] == [1, 3, 4]


@pytest.mark.parametrize("reason", ["large", "spent"])
def test_all_is_read_where_a_part_is_large_or_much_was_spent(
    filled, workspace, records, monkeypatch, kind, reason
):
    if kind == "server":
        monkeypatch.setattr(catalog, "is_database", lambda _: False)
    if reason == "large":
        for module in (server_reader, database_parts):
            monkeypatch.setattr(module, "LARGE_PART", 1)
    else:
        set_times(monkeypatch, hold_s=0.0, spend_s=-1.0)
    asked = open_registry(workspace)
    assert asked.best(device="cpu", max_latency_ms=9).version == 2
    assert f"models:/{GPU}/1" in records
    records.clear()
    assert asked.best(device="gpu", max_latency_ms=9).version == OTHERS
    assert records == []


@pytest.mark.parametrize("kind", ["server"])
def test_registering_reads_the_registered_model_alone(asked, records, bundle):
    for accuracy in (0.9, 0.6, 0.9):
        asked.register(subnet_record(accuracy=accuracy), bundle)
    assert [item.version for item in asked.snapshot(Part(model_name=MODEL)).subnets] == [4, 3, 2, 1]
    assert asked.aliases(MODEL) == {"best-1ms": 3}
    assert not [uri for uri in records if GPU in uri]


def test_filters_quote_no_quotes():
    assert Part(model_name="it's").filters is None
    assert Part(device="gerät").filters is None
    assert Part(device="cpu", model_name="a", version="1").filters == [
        "tags.`ofa.model_name` = 'a'",
        "tags.`ofa.version` = '1'",
        "tags.`ofa.record` LIKE '%\"cpu\"%'",
    ]
    with pytest.raises(RegistryError, match="must be a name"):
        _ = Part(device="a` > 0 OR 1").filters
