"""What is registered, kept in memory and current: the records of a registry, read once each.

A registry is asked far more often than it is written, and MLflow reads a record in milliseconds: of
ten thousand that is most of a minute. So records are kept, and before each answer it is asked
whether anything has changed, which costs the same however many there are.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from sys import intern
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry.addresses import is_database, is_sqlite, sqlite_path
from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.database import ensure_database
from ofa_pipeline.registry.fields import (
    DIGEST_TAG,
    MODEL_TAG,
    OWNER,
    OWNER_TAG,
    RECORD_TAG,
    VERSION_TAG,
    read_model,
    read_record,
)
from ofa_pipeline.registry.holdings import Holdings
from ofa_pipeline.registry.lookups import Snapshot
from ofa_pipeline.registry.pool import Pool
from ofa_pipeline.registry.record import RegisteredSubnet
from ofa_pipeline.registry.server import check_reachable, may_hold_anything

if TYPE_CHECKING:
    from sqlalchemy import Engine

Entries = Mapping[str, RegisteredSubnet]
"""By the id of their LoggedModel, the newest first."""

CHECK_EVERY_S = 1.0
"""At most so often a server is asked whether anything has changed, and rows are counted."""
WALK_EVERY_S = 60.0
"""So often everything on a server is read again: nothing tells that a version was deleted."""
_DELETED = "Deleted_Internal"
"""Stage that MLflow gives a deleted version."""
_CHUNK = 500
"""Records that are read at once."""
_IN_A_ROW = 100

_MARKED = f"""
SELECT m.model_id, version.tag_value, name.tag_value
FROM logged_models m
JOIN experiments e ON e.experiment_id = m.experiment_id AND e.lifecycle_stage = 'active'
JOIN experiment_tags t ON t.experiment_id = m.experiment_id
    AND t.key = '{OWNER_TAG}' AND t.value = '{OWNER}'
JOIN logged_model_tags version ON version.model_id = m.model_id
    AND version.tag_key = '{VERSION_TAG}'
JOIN logged_model_tags name ON name.model_id = m.model_id AND name.tag_key = '{MODEL_TAG}'
WHERE m.lifecycle_stage = 'active'
ORDER BY m.creation_timestamp_ms DESC, m.model_id
"""  # noqa: S608 - constants of this package
_ALIVE = f"SELECT name, version FROM model_versions WHERE current_stage != '{_DELETED}'"  # noqa: S608
_MARK = "SELECT count(*), max(last_updated_time) FROM model_versions"


class Reader(Protocol):
    """Reads what is registered, and tells when that is out of date."""

    def has_changed(self) -> bool:
        """Tell whether `read` may return something else than the last time."""
        ...

    def read(self, known: Entries) -> Entries:
        """Return what is registered, the newest first; what is known is not read again."""
        ...

    def is_there(self, subnet: RegisteredSubnet) -> bool:
        """Tell whether a version that was read still exists."""
        ...

    def aliases(self, model_name: str) -> dict[str, int]:
        """Return the versions that the aliases of a registered model name."""
        ...


class Catalog:
    """A current snapshot of a registry; safe to use from several threads."""

    def __init__(self, connection: Connection, holdings: Holdings) -> None:
        """Read nothing yet."""
        self._uri = connection.tracking_uri
        self._reader: Reader = (
            DatabaseReader(connection)
            if is_database(self._uri)
            else ServerReader(connection, holdings)
        )
        self._lock = RLock()
        self._entries: Entries = {}
        self._snapshot: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """Return what is registered now.

        Raises:
            RegistryError: If the registry cannot be read.
        """
        if not may_hold_anything(self._uri):
            return Snapshot(())
        with self._lock:
            if self._snapshot is None or self._reader.has_changed():
                self._entries = self._reader.read(self._entries)
                self._snapshot = Snapshot(tuple(self._entries.values()))
            return self._snapshot

    def copies(
        self, model_name: str, bundle_digest: str
    ) -> tuple[tuple[str, RegisteredSubnet], ...]:
        """Return the versions of one content with the ids of their LoggedModels, lowest first."""
        with self._lock:
            self.snapshot()
            found = [
                (model_id, item)
                for model_id, item in self._entries.items()
                if item.record.bundle_digest == bundle_digest
                and item.record.model_name == model_name
            ]
        return tuple(sorted(found, key=lambda copy: copy[1].version))

    def model_id(self, subnet: RegisteredSubnet) -> str:
        """Return the id of a version's LoggedModel.

        Raises:
            RegistryError: If the version is gone.
        """
        for key, item in self.copies(subnet.record.model_name, subnet.record.bundle_digest):
            if item.version == subnet.version:
                return key
        raise RegistryError(f"{subnet.model_uri} is gone: somebody deleted it.")

    def aliases(self, model_name: str) -> dict[str, int]:
        """Return the versions that the aliases of a registered model name."""
        return self._reader.aliases(model_name)

    def is_there(self, subnet: RegisteredSubnet) -> bool:
        """Tell whether a version still exists; if not, everything is read again."""
        if self._reader.is_there(subnet):
            return True
        with self._lock:
            self._entries = {}
        self.expire()
        return False

    def expire(self) -> None:
        """Read again before the next answer: this process has written."""
        with self._lock:
            self._snapshot = None


class DatabaseReader:
    """Reads the tables of a database that MLflow keeps, in two or three statements."""

    def __init__(self, connection: Connection) -> None:
        """Read nothing yet."""
        self._mlflow = connection
        self._pool = Pool()
        self._opened: Engine | None = None
        self._file = 0
        self._mark: object = None
        self._transactions: object = None
        self._counted_at = -float("inf")

    def has_changed(self) -> bool:
        """Ask SQLite for the version of its file, other databases for the newest change.

        To find that takes the longer the more versions there are. PostgreSQL is asked first whether
        any transaction has ended since, which is quick however many there are.
        """
        if self._mark is None:
            return True
        with self._mlflow.explained("look for changes"):
            if is_sqlite(self._mlflow.tracking_uri):
                return self._mark != self._read_mark()
            transactions = self._read_transactions()
            if transactions is not None and transactions == self._transactions:
                return False
            if time.monotonic() - self._counted_at < CHECK_EVERY_S:
                return False
            self._counted_at = time.monotonic()
            self._transactions = transactions
            return self._mark != self._read_mark()

    def read(self, known: Entries) -> Entries:
        """Read which versions there are, and the records that are not known."""
        with self._mlflow.explained("read the records"):
            mark = self._read_mark()
            alive = {(intern(name), int(version)) for name, version in self._rows(_ALIVE)}
            marked = [
                (str(model_id), intern(name), int(version))
                for model_id, version, name in self._rows(_MARKED)
            ]
        there = {key: (name, version) for key, name, version in marked if (name, version) in alive}
        new = {
            key: self._pool.share(read_record(text, *there[key]))
            for key, text in self._records([key for key in there if key not in known])
        }
        ours = {name for name, _ in there.values()}
        # A version whose registration is not complete yet changes nothing here when it is.
        in_flight = alive.difference(there.values())
        self._mark = None if any(name in ours for name, _ in in_flight) else mark
        return {key: item for key in there if (item := known.get(key) or new.get(key)) is not None}

    def is_there(self, subnet: RegisteredSubnet) -> bool:  # noqa: ARG002 - of the protocol
        """Tell that it is: a deleted version is a change."""
        return True

    def aliases(self, model_name: str) -> dict[str, int]:
        """Read the table: MLflow would read every version of the model, too."""
        from sqlalchemy import text

        statement = text("SELECT alias, version FROM registered_model_aliases WHERE name = :name")
        with self._mlflow.explained("read the aliases"), self._engine.connect() as connection:
            rows = connection.execute(statement, {"name": model_name})
            return {str(alias): int(version) for alias, version in rows}

    def _records(self, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield records with their ids; of many, few are held as texts at a time."""
        from sqlalchemy import bindparam, text

        statement = text(
            f"SELECT model_id, tag_value FROM logged_model_tags WHERE tag_key = '{RECORD_TAG}' "  # noqa: S608
            "AND model_id IN :ids"
        ).bindparams(bindparam("ids", expanding=True))
        for start in range(0, len(ids), _CHUNK):
            with self._mlflow.explained("read the records"), self._engine.connect() as connection:
                rows = connection.execute(statement, {"ids": ids[start : start + _CHUNK]})
                found = [(str(key), str(value)) for key, value in rows]
            yield from found

    def _read_transactions(self) -> object:
        """Return which transactions have ended; None where only PostgreSQL could say."""
        if not self._mlflow.tracking_uri.startswith("postgres"):
            return None
        return self._rows("SELECT CAST(txid_current_snapshot() AS TEXT)")[0][0]

    def _read_mark(self) -> object:
        if not is_sqlite(self._mlflow.tracking_uri):
            return tuple(self._rows(_MARK)[0])
        path = sqlite_path(self._mlflow.tracking_uri)
        number = path.stat().st_ino
        if number != self._file and self._opened is not None:  # another file took its place
            self._opened.dispose()
            self._opened = None
        self._file = number
        return number, self._rows("PRAGMA data_version")[0][0]

    def _rows(self, statement: str) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.exec_driver_sql(statement).fetchall()

    @property
    def _engine(self) -> "Engine":
        if self._opened is None:
            self._opened = _open_engine(self._mlflow.tracking_uri)
        return self._opened


def _open_engine(uri: str) -> "Engine":
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    if not is_sqlite(uri):
        check_reachable(uri)
        return create_engine(uri, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    path = sqlite_path(uri)
    ensure_database(path)
    # One connection: the version of the file is told of changes by other connections.
    return create_engine(
        "sqlite+pysqlite://",
        creator=lambda: _sqlite_connection(str(path)),
        poolclass=StaticPool,
    )


def _sqlite_connection(path: str) -> Any:  # noqa: ANN401 - as SQLAlchemy takes it
    import sqlite3

    return sqlite3.connect(path, timeout=20, check_same_thread=False)


class ServerReader:
    """Reads what an MLflow server gives, page by page."""

    def __init__(self, connection: Connection, holdings: Holdings) -> None:
        """Read nothing yet."""
        self._mlflow = connection
        self._holdings = holdings
        self._pool = Pool()
        self._mark: object = None
        self._checked_at = self._walked_at = -float("inf")

    def has_changed(self) -> bool:
        """Ask for the newest version, not more often than `CHECK_EVERY_S`."""
        now = time.monotonic()
        if now - self._checked_at < CHECK_EVERY_S:
            return False
        self._checked_at = now
        is_stale = now - self._walked_at > WALK_EVERY_S
        return is_stale or self._mark is None or self._mark != self._read_mark()

    def read(self, known: Entries) -> Entries:
        """Read the newest LoggedModels up to what is known; now and then all of them."""
        now = time.monotonic()
        mark = self._read_mark()
        if not known or now - self._walked_at > WALK_EVERY_S:
            entries = self._walk()
            self._walked_at = now
        else:
            entries = self._add_new(known)
        self._checked_at = now
        newest = mark[:2] if isinstance(mark, tuple) else None
        named = {(item.record.model_name, item.version) for item in entries.values()}
        # The newest version may be one whose registration is not complete yet.
        self._mark = mark if newest in named else None
        return entries

    def is_there(self, subnet: RegisteredSubnet) -> bool:
        """Ask for the version: people delete versions in MLflow's UI."""
        return self._holdings.version_exists(subnet)

    def aliases(self, model_name: str) -> dict[str, int]:
        """Ask for the registered model."""
        with self._mlflow.explained(f"read the aliases of {model_name}"):
            aliases = self._mlflow.client.get_registered_model(model_name).aliases
        return {alias: int(version) for alias, version in aliases.items()}

    def _walk(self) -> Entries:
        found = {
            model.model_id: self._pool.share(read_model(model))
            for model in self._holdings.models([])
        }
        alive = {
            (name, version)
            for name in {subnet.record.model_name for subnet in found.values()}
            for version in self._holdings.versions(name)
        }
        return {
            key: item
            for key, item in found.items()
            if (item.record.model_name, item.version) in alive
        }

    def _add_new(self, known: Entries) -> Entries:
        """Return what is known, with what is newer before it.

        Clocks of writers differ a little: some known ones in a row end the reading, not the first.
        """
        new: dict[str, RegisteredSubnet] = {}
        met = 0
        for model in self._holdings.models([]):
            if model.model_id in known:
                met += 1
                if met == _IN_A_ROW:
                    break
            else:
                met = 0
                new[model.model_id] = self._pool.share(read_model(model))
        return {**new, **known}

    def _read_mark(self) -> tuple[str, int, object] | None:
        with self._mlflow.explained("look for changes"):
            found = self._mlflow.client.search_model_versions(
                f"tags.`{DIGEST_TAG}` != ''",  # of any version, all of ours bear it
                max_results=1,
                order_by=["last_updated_timestamp DESC"],
            )
        if not found:
            return None
        return found[0].name, int(found[0].version), found[0].last_updated_timestamp
