"""Asks the tables of a database that MLflow keeps."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from sys import intern
from typing import TYPE_CHECKING, Any

from ofa_pipeline.registry.addresses import is_sqlite, sqlite_path
from ofa_pipeline.registry.database import ensure_database
from ofa_pipeline.registry.fields import read_record
from ofa_pipeline.registry.record import RegisteredSubnet
from ofa_pipeline.registry.server import check_reachable
from ofa_pipeline.registry.statements import AMONG, DELETED, RECORDS

if TYPE_CHECKING:
    from sqlalchemy import Engine, TextClause

_FROM_MODEL = "models:/"
"""What the source of a version begins with that was made from a LoggedModel."""
_CHUNK = 500
"""LoggedModels that are asked for at once."""

Version = tuple[str, int]
"""Registered model and number."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest version of a registered model that was seen."""

    version: int
    source: str


class Tables:
    """Answers statements; opens the database at the first."""

    def __init__(self, uri: str) -> None:
        """Open nothing yet."""
        self._uri = uri
        self._opened: Engine | None = None
        self._file = 0

    @property
    def engine(self) -> "Engine":
        """The open database."""
        if self._opened is None:
            self._opened = _open_engine(self._uri)
        return self._opened

    def find_file(self) -> int:
        """Return the number of the SQLite file; another one, which took its place, is opened."""
        number = sqlite_path(self._uri).stat().st_ino
        if number != self._file and self._opened is not None:
            self._opened.dispose()
            self._opened = None
        self._file = number
        return number

    def rows(self, statement: str, **values: object) -> Sequence[Any]:
        """Return the rows of a statement."""
        from sqlalchemy import text

        return self._fetch(text(statement), values)

    def among(self, statement: str, ids: Sequence[str]) -> Iterator[Any]:
        """Yield the rows of some LoggedModels; of many, few are held as texts at a time."""
        from sqlalchemy import bindparam, text

        wanted = text(statement).bindparams(bindparam("ids", expanding=True))
        for start in range(0, len(ids), _CHUNK):
            yield from self._fetch(wanted, {"ids": ids[start : start + _CHUNK]})

    def records(self, there: Mapping[str, Version]) -> Iterator[tuple[str, RegisteredSubnet]]:
        """Yield records by the ids of their LoggedModels, in any order."""
        for key, text in self.among(f"{RECORDS} {AMONG}", list(there)):
            yield str(key), read_record(str(text), *there[str(key)])

    def _fetch(self, statement: "TextClause", values: Mapping[str, object]) -> Sequence[Any]:
        """Return the rows of a statement; where a connection was lost, by another one.

        To ask each time whether it is still there would cost as much as a statement by keys.
        """
        from sqlalchemy.exc import DBAPIError

        try:
            with self.engine.connect() as connection:
                return connection.execute(statement, values).fetchall()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        with self.engine.connect() as connection:
            return connection.execute(statement, values).fetchall()


def mark_of(row: Any) -> tuple[str, Version]:  # noqa: ANN401 - as SQLAlchemy gives it
    """Return the id of a LoggedModel and the version that its mark names, of a row of `MARKED`."""
    model_id, version, name = row
    return str(model_id), (intern(name), int(version))


def numbers(rows: Iterable[Any]) -> tuple[dict[str, Newest], dict[Version, str]]:
    """Return the newest version of each registered model, and the LoggedModels of those alive.

    Args:
        rows: Of `VERSIONS`.
    """
    newest: dict[str, Newest] = {}
    models: dict[Version, str] = {}
    for given, number, source, stage in rows:
        name, version = intern(given), int(number)
        if name not in newest or newest[name].version < version:
            newest[name] = Newest(version, source)
        if stage != DELETED and source.startswith(_FROM_MODEL):
            models[name, version] = source.removeprefix(_FROM_MODEL)
    return newest, models


def _open_engine(uri: str) -> "Engine":
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    if not is_sqlite(uri):
        check_reachable(uri)
        return create_engine(uri, isolation_level="AUTOCOMMIT")
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
