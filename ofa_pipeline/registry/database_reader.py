"""Reads what is registered from the tables of a database that MLflow keeps."""

import time
from collections.abc import Iterator, Sequence
from sys import intern
from typing import TYPE_CHECKING, Any

from ofa_pipeline.registry.addresses import is_sqlite, sqlite_path
from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.database import ensure_database
from ofa_pipeline.registry.fields import (
    MODEL_TAG,
    OWNER,
    OWNER_TAG,
    RECORD_TAG,
    VERSION_TAG,
    read_record,
)
from ofa_pipeline.registry.pool import Pool
from ofa_pipeline.registry.reading import CHECK_EVERY_S, Entries
from ofa_pipeline.registry.record import RegisteredSubnet
from ofa_pipeline.registry.server import check_reachable

if TYPE_CHECKING:
    from sqlalchemy import Engine

_DELETED = "Deleted_Internal"
"""Stage that MLflow gives a deleted version."""
_CHUNK = 500
"""Records that are read at once."""

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
