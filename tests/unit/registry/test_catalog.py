"""Records are read once, and every change by anybody is seen, on real MLflow."""

import json
import re
import shutil
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

import pytest
from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry import (
    MlflowRegistry,
    database_reader,
    open_registry,
    registration,
    server_reader,
)
from ofa_pipeline.registry.claims import Patience
from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.database_reader import DatabaseReader
from ofa_pipeline.registry.fields import DIGEST_TAG
from ofa_pipeline.registry.holdings import Holdings
from ofa_pipeline.registry.pages import VERSIONS_TAG
from ofa_pipeline.registry.server import ambient_tracking_uri
from ofa_pipeline.registry.server_reader import ServerReader
from ofa_pipeline.registry.statements import NAMED
from tests.support.registry import DATASET, MODEL, digest_of, subnet_record, write_bundle


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "a-bundle")


@pytest.fixture
def client(registry):
    return MlflowClient(registry.tracking_uri)


@pytest.fixture(params=["database", "server"])
def reader(request, registry, monkeypatch):
    """Both ways of reading; the second one as it reads a server, without waiting."""
    for module in (database_reader, server_reader):
        monkeypatch.setattr(module, "CHECK_EVERY_S", 0.0)
    connection = Connection(registry.tracking_uri)
    if request.param == "database":
        return DatabaseReader(connection)
    return ServerReader(connection, Holdings(connection))


def versions(entries):
    return [item.version for item in entries.values()]


def test_what_others_register_is_a_change_and_is_read_alone(reader, registry, bundle):
    first = registry.register(subnet_record(accuracy=0.8), bundle)
    entries = reader.read({})
    assert list(entries.values()) == [first]
    assert not reader.has_changed()
    second = registry.register(subnet_record(accuracy=0.9), bundle)
    assert reader.has_changed()
    added = reader.added(entries)
    assert list(added.values()) == [second]
    assert not reader.has_changed()
    assert reader.added({**added, **entries}) == {}
    assert list(reader.read(entries).values()) == [second, first]


def test_version_that_is_not_complete_appears_when_it_is(reader, registry, client, bundle):
    registry.register(subnet_record(accuracy=0.8), bundle)
    registry.register(subnet_record(accuracy=0.9), bundle)
    model_id = client.get_model_version(MODEL, "2").source.removeprefix("models:/")
    client.delete_logged_model_tag(model_id, "ofa.version")
    entries = reader.read({})
    assert versions(entries) == [1]
    client.set_logged_model_tags(model_id, {"ofa.version": "2"})
    assert reader.has_changed()
    assert versions(reader.added(entries)) == [2]
    assert not reader.has_changed()


def test_a_server_that_is_read_slowly_is_read_whole_less_often(registry, bundle, monkeypatch):
    registry.register(subnet_record(accuracy=0.8), bundle)
    connection = Connection(registry.tracking_uri)
    reader = ServerReader(connection, Holdings(connection))
    monkeypatch.setattr(server_reader, "WALK_EVERY_S", 0.0)
    monkeypatch.setattr(server_reader, "_WALKS_SHARE", 1e6)
    entries = reader.read({})
    second = registry.register(subnet_record(accuracy=0.9), bundle)
    assert list(reader.added(entries).values()) == [second]
    monkeypatch.setattr(server_reader, "_WALKS_SHARE", 0.0)
    assert reader.added(entries) is None


def test_what_comes_to_a_model_is_read_by_keys_and_counted(registry, client, bundle):
    reader = DatabaseReader(Connection(registry.tracking_uri))
    assert reader.came({}, MODEL) is None  # nothing was read yet
    registry.register(subnet_record(accuracy=0.7), bundle)
    entries = reader.read({})
    assert reader.came(entries, MODEL) == {}
    other = registry.register(subnet_record(device="gpu"), bundle)
    registry.register(subnet_record(accuracy=0.8), bundle)
    registry.register(subnet_record(accuracy=0.9), bundle)
    model_id = client.get_model_version(MODEL, "2").source.removeprefix("models:/")
    client.delete_logged_model_tag(model_id, "ofa.version")
    came = reader.came(entries, MODEL)
    assert versions(came) == [3]
    assert reader.settled(MODEL) == 1
    client.set_logged_model_tags(model_id, {"ofa.version": "2"})
    entries = {**came, **entries}
    came = reader.came(entries, MODEL)
    assert versions(came) == [2]
    # Of what came, nothing is taken for a change of something else, and nothing else is missed.
    assert list(reader.added({**came, **entries}).values()) == [other]


def test_what_comes_to_a_model_is_counted_in_no_database(registry, bundle, monkeypatch):
    """As a database server is read, which tells the version of no file."""
    monkeypatch.setattr(database_reader, "is_sqlite", lambda _: False)
    registry.register(subnet_record(accuracy=0.8), bundle)
    reader = DatabaseReader(Connection(registry.tracking_uri))
    entries = reader.read({})
    registry.register(subnet_record(accuracy=0.9), bundle)
    statements = []
    event.listen(
        reader._tables.engine, "before_cursor_execute", lambda *given: statements.append(given[2])
    )
    assert len(reader.came(entries, MODEL)) == 1
    assert statements
    assert not [text for text in statements if "count(" in text]


class LosingEngine:
    """Loses the connection at the first statement, or has another error at each."""

    def __init__(self, engine, *, is_lost):
        self.engine, self.is_lost, self.num_errors = engine, is_lost, 0

    def connect(self):
        if self.is_lost and self.num_errors:
            return self.engine.connect()
        self.num_errors += 1
        error = sqlite3.OperationalError("the server went away")
        raise DBAPIError("SELECT 1", {}, error, connection_invalidated=self.is_lost)


def test_statement_is_asked_again_where_the_connection_was_lost(registry, bundle):
    registered = registry.register(subnet_record(), bundle)
    reader = DatabaseReader(Connection(registry.tracking_uri))
    [model_id] = reader.read({})
    engine = reader._tables.engine
    reader._tables._opened = LosingEngine(engine, is_lost=True)
    assert reader.still_counts(model_id, registered)
    reader._tables._opened = LosingEngine(engine, is_lost=False)
    with pytest.raises(RegistryError, match="the server went away"):
        reader.still_counts(model_id, registered)
    assert reader._tables._opened.num_errors == 1


def test_newest_version_that_is_gone_has_everything_read(registry, client, bundle, monkeypatch):
    reader = DatabaseReader(Connection(registry.tracking_uri))
    for accuracy in (0.7, 0.8):
        registry.register(subnet_record(accuracy=accuracy), bundle)
    entries = reader.read({})
    client.delete_model_version(MODEL, "2")
    assert reader.came(entries, MODEL) is None
    entries = reader.read(entries)
    assert reader.came(entries, MODEL) == {}
    client.delete_registered_model(MODEL)
    assert reader.came(entries, MODEL) is None
    reader.read(entries)
    monkeypatch.setattr(database_reader, "WALK_EVERY_S", -1.0)
    assert reader.came(entries, MODEL) is None


@pytest.mark.parametrize(
    "delete",
    [
        lambda client, _: client.delete_model_version(MODEL, "1"),
        lambda client, model_id: client.delete_logged_model(model_id),
    ],
)
def test_what_somebody_deletes_is_registered_again_at_once(registry, client, bundle, delete):
    again_after_deletion(registry, client, bundle, delete)


def test_version_without_its_mark_is_registered_again_after_a_silence(
    registry, client, bundle, monkeypatch
):
    """It has no claim either: a writer of an earlier version may be about to set the mark."""
    ended = []

    class Watched(Patience):
        def is_at_an_end(self, name, tags):
            ended.append(super().is_at_an_end(name, tags))
            return ended[-1]

    monkeypatch.setattr(registration, "Patience", partial(Watched, silence_s=0.5))
    again_after_deletion(
        registry,
        client,
        bundle,
        lambda client, model_id: client.delete_logged_model_tag(model_id, "ofa.version"),
    )
    assert (ended[0], ended[-1]) == (False, True)


def again_after_deletion(registry, client, bundle, delete):
    """Register what somebody has deleted, and look at what is there then."""
    first = registry.register(subnet_record(accuracy=0.7), bundle)
    registry.register(subnet_record(accuracy=0.8), bundle)
    model_id = client.get_model_version(MODEL, "1").source.removeprefix("models:/")
    delete(client, model_id)
    again = registry.register(first.record, bundle)
    assert again.record == first.record
    assert [item.version for item in registry.list_subnets()] in ([again.version, 2], [2, 3])


SMALL = {"experiments", "experiment_tags", "registered_models", "registered_model_tags"}
SMALL |= {"registered_model_aliases", "e", "t", "anon_1"}
"""Tables that hold a row an experiment or a registered model, and their names in statements."""


def test_registering_goes_through_no_table_but_for_the_names_of_models(registry, bundle, workspace):
    registry.register(subnet_record(accuracy=0.8), bundle)
    arch = replace(subnet_record().arch, resolution_px=16)
    with statements_of_sqlalchemy() as seen:
        registry.register(subnet_record(accuracy=0.7, arch=arch), bundle)  # no alias may move
    with closing(sqlite3.connect(workspace / "mlflow.db")) as connection:
        passes = {
            (found[1], statement)
            for statement, values in seen
            for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            if (found := re.match(r"SCAN (\w+)(?! USING INTEGER)", step)) and found[1] not in SMALL
        }
    assert {table for table, _ in passes} <= {"logged_models"}, passes
    assert {statement for _, statement in passes} == {NAMED.replace(":name", "?")}


READ_BY_MLFLOW = "SELECT model_versions."
"""How each statement begins by which MLflow reads versions."""


def test_mlflow_is_never_made_to_read_every_version_of_a_model(
    registry, client, bundle, tmp_path, workspace
):
    changes = {"latency_ms": 0.1, "budgets_ms": (0.1, 0.3)}
    first = registry.register(subnet_record(bundle_digest=digest_of(bundle), **changes), bundle)
    second = registry.register(subnet_record(accuracy=0.7), bundle)
    registry.register(subnet_record(accuracy=0.6), bundle)
    with statements_of_sqlalchemy() as seen:
        registry.set_alias(second, "mine")
        registry.set_mark(second, "note", "seen")
        registry.download(first, tmp_path / "copy")
        # Of newer images and slower: an alias goes.
        slower = subnet_record(latency_ms=0.3, budgets_ms=(0.3,), lineage={DATASET: "0e" * 32})
        registry.register(slower, bundle)
        assert registry.aliases(MODEL) == {"best-300us": 4, "best-1ms": 4, "mine": 2}
        model_id = client.get_model_version(MODEL, "1").source.removeprefix("models:/")
        client.delete_logged_model_tag(model_id, VERSIONS_TAG)  # an earlier version wrote its page
        registry.register(first.record, bundle)
        [files] = workspace.glob(f"mlruns/**/{model_id}")
        shutil.rmtree(files)  # the version goes
        registry.register(first.record, bundle)
    assert {item.version for item in registry.list_subnets()} == {2, 3, 4, 5}
    with closing(sqlite3.connect(workspace / "mlflow.db")) as connection:
        read = {
            statement: len(connection.execute(statement, values).fetchall())
            for statement, values in seen
            if statement.startswith(READ_BY_MLFLOW)
        }
    assert read
    assert max(read.values()) <= 1, read


@contextmanager
def statements_of_sqlalchemy():
    """Yield the SELECT statements of all engines, with their values."""
    seen = []

    def note(_connection, _cursor, statement, values, *_):
        if statement.lstrip().startswith("SELECT"):
            seen.append((statement, values))

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


def test_everything_is_read_again_where_more_than_an_addition_happened(
    registry, client, bundle, workspace, monkeypatch
):
    reader = DatabaseReader(Connection(registry.tracking_uri))
    for accuracy in (0.7, 0.8):
        registry.register(subnet_record(accuracy=accuracy), bundle)
    entries = reader.read({})

    def register_by_a_slow_clock():
        registry.register(subnet_record(accuracy=0.9), bundle)
        with closing(sqlite3.connect(workspace / "mlflow.db")) as connection, connection:
            connection.execute("UPDATE model_versions SET last_updated_time = 1 WHERE version = 3")

    newest = client.get_model_version(MODEL, "2").source.removeprefix("models:/")
    for change, left in [
        (register_by_a_slow_clock, [3, 2, 1]),
        (lambda: client.delete_model_version(MODEL, "1"), [3, 2]),
        (lambda: client.delete_logged_model(newest), [3]),
        (lambda: client.delete_experiment("1"), []),
    ]:
        change()
        assert reader.added(entries) is None
        entries = reader.read(entries)
        assert versions(entries) == left
    monkeypatch.setattr(database_reader, "WALK_EVERY_S", -1.0)
    assert reader.added(entries) is None


def test_what_could_not_be_read_once_is_not_taken_for_read(registry, client, bundle):
    reader = DatabaseReader(Connection(registry.tracking_uri))
    registry.register(subnet_record(accuracy=0.8), bundle)
    entries = reader.read({})
    registry.register(subnet_record(accuracy=0.9), bundle)
    model_id = client.get_model_version(MODEL, "2").source.removeprefix("models:/")
    record = client.get_logged_model(model_id).tags["ofa.record"]
    client.set_logged_model_tags(model_id, {"ofa.record": "[]"})
    with pytest.raises(RegistryError, match="cannot be read"):
        reader.added(entries)
    for _ in range(2):
        assert reader.has_changed()
        assert reader.added(entries) is None
        with pytest.raises(RegistryError, match="cannot be read"):
            reader.read(entries)
    client.set_logged_model_tags(model_id, {"ofa.record": record})
    assert versions(reader.read(entries)) == [2, 1]


def test_mark_that_somebody_takes_off_is_missed_for_a_while_only(
    registry, client, bundle, monkeypatch
):
    reader = DatabaseReader(Connection(registry.tracking_uri))
    registry.register(subnet_record(), bundle)
    entries = reader.read({})
    model_id = client.get_model_version(MODEL, "1").source.removeprefix("models:/")
    client.delete_logged_model_tag(model_id, "ofa.version")
    assert reader.has_changed()
    assert reader.added(entries) == {}
    assert not reader.has_changed()
    monkeypatch.setattr(database_reader, "WALK_EVERY_S", -1.0)
    assert reader.has_changed()
    assert reader.added(entries) is None
    assert reader.read(entries) == {}


def test_versions_before_the_first_that_is_in_flight_are_settled(
    registry, client, bundle, monkeypatch
):
    reader = DatabaseReader(Connection(registry.tracking_uri))
    assert reader.settled(MODEL) == 0
    for accuracy in (0.7, 0.8, 0.9):
        registry.register(subnet_record(accuracy=accuracy), bundle)
    entries = reader.read({})
    assert reader.settled(MODEL) == 3
    model_id = client.get_model_version(MODEL, "2").source.removeprefix("models:/")
    client.delete_logged_model_tag(model_id, "ofa.version")
    reader.read(entries)
    assert reader.settled(MODEL) == 1
    monkeypatch.setattr(database_reader, "_FEW", 1)
    assert reader.settled(MODEL) == 0


def test_versions_of_a_content_are_found_whole_or_not(reader, registry, client, bundle):
    first = registry.register(subnet_record(accuracy=0.7), bundle)
    registry.register(subnet_record(accuracy=0.8), bundle)
    reader.read({})
    model_id = client.get_model_version(MODEL, "2").source.removeprefix("models:/")
    digest = client.get_model_version(MODEL, "2").tags[DIGEST_TAG]
    source = f"models:/{model_id}"
    with ambient_tracking_uri(registry.tracking_uri):
        for _ in range(3):  # in flight, and of the same content
            client.create_model_version(
                MODEL, source=source, model_id=model_id, tags={DIGEST_TAG: digest}
            )
    registry._mlflow.models.delete_model_version(MODEL, "4")
    assert [item for item in reader.made(MODEL, digest) if item[0] > 2] == [
        (3, source),
        (5, source),
    ]
    assert reader.made(MODEL, first.record.bundle_digest)[1:] == []
    assert reader.made("another", digest) == []


def test_version_that_somebody_deletes_is_gone(reader, registry, client, bundle):
    for accuracy in (0.8, 0.9):
        registry.register(subnet_record(accuracy=accuracy), bundle)
    entries = reader.read({})
    [newest, _] = entries.values()
    client.delete_model_version(MODEL, "2")
    # Of a server it is asked when it answers; then everything is read again.
    assert reader.has_changed() or not reader.is_there(newest)
    assert versions(reader.read({})) == [1]


@pytest.mark.parametrize("is_renamed", [True, False])
def test_what_somebody_renamed_or_deleted_is_told_with_its_name(
    registry, client, bundle, is_renamed
):
    registry.register(subnet_record(), bundle)
    uris = [f"models:/{MODEL}/1"]
    if is_renamed:
        client.rename_registered_model(MODEL, "another's")
        uris.append("models:/another's/1")
    else:
        client.delete_model_version(MODEL, "1")
    registry = MlflowRegistry(registry.tracking_uri)
    asked = [partial(registry.version, uri) for uri in uris]
    asked += [partial(registry.best, device="cpu", max_latency_ms=9)]
    for ask in [*asked, partial(registry.list_subnets, device="cpu")]:
        with pytest.raises(RegistryError, match=rf"models:/{MODEL}/1\W.* renamed .*--item cpu,"):
            ask()
    assert registry.register(subnet_record(), bundle).model_uri
    assert registry.version(f"models:/{MODEL}/{1 if is_renamed else 2}")
    with pytest.raises(RegistryError, match=r"registry has no models:/other/1\. (Known|Did)"):
        registry.version("models:/other/1")


def test_unreadable_record_is_refused_with_its_version(reader, registry, client, bundle):
    registry.register(subnet_record(), bundle)
    model_id = client.get_model_version(MODEL, "1").source.removeprefix("models:/")
    for text, told in [("[]", "not a subnet record"), ("{", "property name"), ("x" * 9000, "")]:
        client.set_logged_model_tags(model_id, {"ofa.record": text})
        with pytest.raises(RegistryError, match=rf"of models:/{MODEL}/1 .*cannot be read.*{told}"):
            reader.read({})


def test_unreadable_record_is_written_anew_by_registering_its_bundle(registry, client, bundle):
    kept = registry.register(subnet_record(), bundle)
    other = registry.register(subnet_record(accuracy=0.7), bundle)
    model_id = client.get_model_version(MODEL, "1").source.removeprefix("models:/")
    values = kept.record.to_dict()
    for spoiled in [values | {"latency": 3}, [], {"device": values["device"]}]:
        client.set_logged_model_tags(model_id, {"ofa.record": json.dumps(spoiled)})
        registry = MlflowRegistry(registry.tracking_uri)  # has read nothing yet
        with pytest.raises(RegistryError, match="ofa-pipeline stage register --item"):
            registry.list_subnets()
        with pytest.raises(RegistryError, match="ofa-pipeline stage register --item"):
            registry.register(other.record, bundle)  # of which nothing is unreadable
        assert registry.register(kept.record, bundle) == kept
        assert len(registry.list_subnets()) == 2
    newer = json.dumps(values | {"format": 2})
    client.set_logged_model_tags(model_id, {"ofa.record": newer})
    registry = MlflowRegistry(registry.tracking_uri)
    for ask in (registry.list_subnets, lambda: registry.register(kept.record, bundle)):
        with pytest.raises(RegistryError, match="Install ofa-pipeline in the version"):
            ask()
    assert client.get_logged_model(model_id).tags["ofa.record"] == newer


def test_file_that_takes_the_place_of_another_is_read(registry, bundle, workspace, empty_database):
    registry.register(subnet_record(), bundle)
    assert len(registry.list_subnets()) == 1
    shutil.copyfile(empty_database, workspace / "new.db")
    (workspace / "new.db").rename(workspace / "mlflow.db")
    assert registry.list_subnets() == ()


def test_file_with_as_many_versions_that_takes_the_place_is_read(
    registry, bundle, tmp_path, workspace, empty_database
):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copyfile(empty_database, other / "mlflow.db")
    theirs = open_registry(other).register(subnet_record(accuracy=0.8), bundle)
    registry.register(subnet_record(accuracy=0.9), bundle)
    assert len(registry.list_subnets()) == 1
    (other / "mlflow.db").rename(workspace / "mlflow.db")
    assert registry.list_subnets() == (theirs,)


def test_looking_up_makes_no_registry(tmp_path):
    assert open_registry(tmp_path).list_subnets() == ()
    assert list(tmp_path.iterdir()) == []
