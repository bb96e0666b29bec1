"""Registering on a disk that is full, by a clock that was set back, into a store that refuses."""

import tempfile
from functools import partial

import pytest
from mlflow import MlflowClient
from mlflow.store.model_registry import sqlalchemy_store as versions_store
from mlflow.store.tracking import sqlalchemy_store as models_store

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry import MlflowRegistry, server_reader
from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.holdings import Holdings
from ofa_pipeline.registry.server_reader import ServerReader
from tests.support.limits import no_file_larger_than
from tests.support.registry import MODEL, digest_of, subnet_record, write_bundle
from tests.support.s3 import BUCKET, s3_store

MEGABYTE = 10**6


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "a-bundle")


def test_full_disk_leaves_nothing_and_the_next_try_registers_once(registry, bundle, tmp_path):
    first = registry.register(subnet_record(accuracy=0.8), bundle)
    (bundle / "weights.safetensors").write_bytes(bytes(6 * MEGABYTE))
    record = subnet_record(accuracy=0.9, bundle_digest=digest_of(bundle))
    with (
        no_file_larger_than(5 * MEGABYTE),
        pytest.raises(RegistryError, match=r"File too large.*ulimit"),
    ):
        registry.register(record, bundle)
    client = MlflowClient(registry.tracking_uri)
    assert registry.list_subnets() == (first,)
    assert len(client.search_logged_models(["1"])) == 1
    assert [run.info.status for run in client.search_runs(["1"])].count("RUNNING") == 0
    found = registry.register(record, bundle)
    assert sorted(item.version for item in registry.list_subnets()) == [
        first.version,
        found.version,
    ]
    copy = registry.download(found, tmp_path / "copy")
    assert (copy / "weights.safetensors").stat().st_size == 6 * MEGABYTE


@pytest.mark.parametrize("reads", ["database", "server"])
def test_what_is_registered_by_a_clock_that_was_set_back_counts_at_once(
    registry, bundle, reads, monkeypatch
):
    if reads == "server":
        connection = Connection(registry.tracking_uri)
        reader = ServerReader(connection, Holdings(connection))
        monkeypatch.setattr(registry._catalog, "_reader", reader)
        monkeypatch.setattr(server_reader, "_IN_A_ROW", 1)
    changes = {"latency_ms": 0.4, "budgets_ms": (0.5,)}
    registry.register(subnet_record(accuracy=0.7, **changes), bundle)
    for store in (models_store, versions_store):
        monkeypatch.setattr(store, "get_current_time_millis", lambda: 1)
    better = registry.register(subnet_record(accuracy=0.9, **changes), bundle)
    assert registry.aliases(MODEL) == {"best-500us": better.version}
    assert registry.best(device="cpu", max_latency_ms=0.5) == better
    images = {"artifacts/dataset": "0e" * 32}  # other images: the newest count
    newest = registry.register(subnet_record(accuracy=0.6, lineage=images, **changes), bundle)
    assert registry.aliases(MODEL) == {"best-500us": newest.version}


def test_alias_names_no_version_that_was_deleted_since_a_server_was_read(
    registry, bundle, monkeypatch
):
    connection = Connection(registry.tracking_uri)
    reader = ServerReader(connection, Holdings(connection))
    monkeypatch.setattr(registry._catalog, "_reader", reader)
    changes = {"latency_ms": 0.4, "budgets_ms": (0.5,)}
    best = registry.register(subnet_record(accuracy=0.9, **changes), bundle)
    second = registry.register(subnet_record(accuracy=0.8, **changes), bundle)
    assert registry.aliases(MODEL) == {"best-500us": best.version}
    MlflowClient(registry.tracking_uri).delete_model_version(MODEL, str(best.version))
    registry.register(subnet_record(accuracy=0.7, **changes), bundle)
    assert registry.aliases(MODEL) == {"best-500us": second.version}


def test_store_that_refuses_every_third_request_gets_every_file(
    workspace, bundle, tmp_path, monkeypatch
):
    with s3_store(refuse_every=3) as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        registry = MlflowRegistry(
            f"sqlite:///{workspace / 'mlflow.db'}", artifacts=f"s3://{BUCKET}/registry"
        )
        register = partial(subnet_record, bundle_digest=digest_of(bundle))
        found = registry.register(register(), bundle)
        copy = registry.download(found, tmp_path / "copy")
        assert digest_of(copy) == found.record.bundle_digest
        assert registry.register(register(), bundle) == found
        assert store.num_refused() > 0
