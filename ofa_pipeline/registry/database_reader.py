"""Reads what is registered from the tables of a database that MLflow keeps."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ofa_pipeline.registry.addresses import is_sqlite
from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.database_parts import read_part
from ofa_pipeline.registry.parts import Part, PartTimes
from ofa_pipeline.registry.pool import Pool
from ofa_pipeline.registry.reading import CHECK_EVERY_S, WALK_EVERY_S, Entries, Made
from ofa_pipeline.registry.record import RegisteredSubnet
from ofa_pipeline.registry.statements import (
    AMONG,
    BESIDE,
    CAME,
    COUNT,
    DELETED,
    FROM_NUMBER,
    MARK,
    MARKED,
    NAMED,
    OF_CONTENT,
    ORDER,
    OWNED,
    TALLY,
    VERSIONS,
)
from ofa_pipeline.registry.tables import Newest, Tables, Version, mark_of, numbers

_FEW = 100
"""Versions after the last that is settled; with more, what is settled says little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tally:
    """How many versions there are, and whatever else tells that one of them has gone."""

    num_versions: int
    num_deleted: int
    latest_ms: int
    """The newest change of one, by the clock of its writer."""
    beside: tuple[tuple[int, int], ...]
    """Experiments of ours, each with the number of all deleted LoggedModels."""


class DatabaseReader:
    """Reads the tables of a database that MLflow keeps, in two or three statements.

    What has come since is read alone, where the number of versions says that it is all.
    """

    part_times = PartTimes(hold_s=0.0, spend_s=1.0)

    def __init__(self, connection: Connection) -> None:
        """Read nothing yet."""
        self._mlflow = connection
        self._pool = Pool()
        self._tables = Tables(connection.tracking_uri)
        self._file = 0
        self._mark: object = None
        self._transactions: object = None
        self._counted_at = self._walked_at = -float("inf")
        self._tally: _Tally | None = None
        self._is_whole = True
        self._newest: dict[str, Newest] = {}
        self._in_flight: dict[Version, str] = {}
        """Versions that do not count yet, with the ids of their LoggedModels."""

    def has_changed(self) -> bool:
        """Ask SQLite for the version of its file, other databases for the newest change.

        To find that takes the longer the more versions there are. PostgreSQL is asked first whether
        any transaction has ended since, which is quick however many there are. Where only what is
        new was read at last, everything is due after a while.
        """
        if self._mark is None or (not self._is_whole and self._is_walk_due):
            return True
        with self._mlflow.explained("look for changes"):
            if is_sqlite(self._mlflow.tracking_uri):
                return self._mark != self._read_mark()
            transactions = self._read_transactions()
            if transactions is not None and transactions == self._transactions:
                return False
            if time.monotonic() - self._counted_at < CHECK_EVERY_S:
                return False
            mark = self._read_mark()
            self._counted_at = time.monotonic()
            self._transactions = transactions
            return self._mark != mark

    def read(self, known: Entries) -> Entries:
        """Read which versions there are, and the records that are not known."""
        if not known:
            self._pool = Pool()
        self._forget()
        with self._mlflow.explained("read the records"):
            mark, tally = self._read_mark(), self._read_tally()
            walked_at = time.monotonic()
            newest, models = numbers(self._tables.rows(VERSIONS))
            marked = [mark_of(row) for row in self._tables.rows(f"{MARKED} {ORDER}")]
        there = {key: version for key, version in marked if version in models}
        new = self._records({key: at for key, at in there.items() if key not in known})
        self._await(models, there.values())
        self._mark = None if self._in_flight else mark
        self._newest, self._tally, self._walked_at = newest, tally, walked_at
        self._is_whole = True
        entries = {key: known.get(key) or new.get(key) for key in there}
        found = {key: item for key, item in entries.items() if item is not None}
        if known.keys() - found.keys():
            self._pool.keep(found.values())
        return found

    def part(self, part: Part) -> Entries | None:
        """Read it by keys, or by the metric of a device; None for a whole registered model."""
        with self._mlflow.explained("read the records"):
            if is_sqlite(self._mlflow.tracking_uri):
                self._find_file()
            return read_part(self._tables, part)

    def added(self, known: Entries) -> Entries | None:
        """Read the versions that are new or were not complete; None where others have changed."""
        with self._mlflow.explained("read what is new"):
            mark = self._read_mark()
            before = self._forget()
            if before is None or self._is_walk_due:
                return None
            # In one pass: no index of MLflow's has either column.
            rows = self._tables.rows(f"{CAME} {before.latest_ms}")
            fresh = [row[:4] for row in rows if int(row[1]) > self._seen(row[0]).version]
            tally = _Tally(
                num_versions=int(self._tables.rows(COUNT)[0][0]),
                num_deleted=sum(row[3] == DELETED for row in rows),
                latest_ms=max([before.latest_ms, *(int(row[4] or 0) for row in rows)]),
                beside=self._read_beside(),
            )
            num_deleted = before.num_deleted + sum(row[3] == DELETED for row in fresh)
            if (tally.num_versions, tally.num_deleted, tally.beside) != (
                before.num_versions + len(fresh),
                num_deleted,
                before.beside,
            ):
                return None
            newest, models = numbers(fresh)
            models |= self._in_flight
        found = self._completed(models, known)
        self._mark = None if self._in_flight else mark
        self._newest |= newest
        self._tally, self._is_whole = tally, False
        return found

    def came(self, known: Entries, model_name: str) -> Entries | None:
        """Read the versions of a registered model that are new or were not complete, by keys.

        None where that does not tell: nothing was read yet, everything is due, or the newest
        version that was seen is gone or another.
        """
        with self._mlflow.explained("read what is new"):
            if is_sqlite(self._mlflow.tracking_uri):
                self._find_file()
            before, seen = self._tally, self._seen(model_name)
            if before is None or self._is_walk_due:
                return None
            rows = self._tables.rows(FROM_NUMBER, name=model_name, version=seen.version)
            if seen.version:
                first, rows = rows[:1], rows[1:]
                if [(int(row[1]), row[2]) for row in first] != [(seen.version, seen.source)]:
                    return None
            if not rows and not self._in_flight:
                return {}
            newest, models = numbers(rows)
        self._tally = None  # an error on the way hides nothing
        found = self._completed(models | self._in_flight, known)
        self._newest |= newest
        self._tally = replace(
            before,
            num_versions=before.num_versions + len(rows),
            num_deleted=before.num_deleted + sum(row[3] == DELETED for row in rows),
        )
        if self._in_flight:
            self._mark = None
        return found

    def _seen(self, model_name: str) -> Newest:
        return self._newest.get(model_name, Newest(0, ""))

    def _completed(self, models: Mapping[Version, str], known: Entries) -> Entries:
        """Return those of some versions that count now, and keep which ones do not yet."""
        with self._mlflow.explained("read what is new"):
            ids = list(models.values())
            marked = [mark_of(row) for row in self._tables.among(f"{MARKED} {AMONG} {ORDER}", ids)]
        there = {key: version for key, version in marked if version in models}
        new = self._records(there)
        self._await(models, there.values())
        return {key: new[key] for key in there if key in new and key not in known}

    @property
    def _is_walk_due(self) -> bool:
        return time.monotonic() - self._walked_at > WALK_EVERY_S

    def _forget(self) -> _Tally | None:
        """Forget what was read until all of it is read again: an error on the way hides nothing.

        Returns:
            The tally of what was read; None where there is none.
        """
        tally, self._tally, self._mark = self._tally, None, None
        return tally

    def made(self, model_name: str, bundle_digest: str) -> Made:
        """Read those after what is settled, in one statement by keys.

        MLflow reads each version that it finds whole, its tags one by one.
        """
        values = {"name": model_name, "digest": bundle_digest}
        with self._mlflow.explained("search"):
            rows = self._tables.rows(OF_CONTENT, settled=self.settled(model_name), **values)
        return [(int(number), str(source)) for number, source in rows]

    def settled(self, model_name: str) -> int:
        """Return the version before the first that does not count yet, if that is a new one.

        Up to it all were read, or are gone; 0 where that is not known.
        """
        newest = self._seen(model_name).version
        first = min(
            (version for name, version in self._in_flight if name == model_name),
            default=newest + 1,
        )
        return first - 1 if newest - first < _FEW else 0

    def _await(self, models: Mapping[Version, str], complete: Iterable[Version]) -> None:
        """Keep which versions do not count yet: nothing tells when they do, so it is looked for."""
        left = {version: models[version] for version in models.keys() - set(complete)}
        with self._mlflow.explained("look for what is being registered"):
            ours = {row[0] for row in self._tables.among(f"{OWNED} {AMONG}", list(left.values()))}
        self._in_flight = {version: key for version, key in left.items() if key in ours}

    def is_there(self, subnet: RegisteredSubnet) -> bool:  # noqa: ARG002 - of the protocol
        """Tell that it is: a deleted version is a change."""
        return True

    def still_counts(self, model_id: str, subnet: RegisteredSubnet) -> bool:
        """Ask for the version and its LoggedModel by their keys."""
        version = subnet.record.model_name, subnet.version
        with self._mlflow.explained(f"look up {subnet.model_uri}"):
            rows = self._tables.rows(FROM_NUMBER + " LIMIT 1", name=version[0], version=version[1])
            models = numbers(rows)[1]
            marked = [mark_of(row) for row in self._tables.among(f"{MARKED} {AMONG}", [model_id])]
        return models.get(version) == model_id and (model_id, version) in marked

    def may_hold(self, title: str) -> bool:
        """Look for a LoggedModel of this name: one pass over narrow rows."""
        with self._mlflow.explained("search"):
            return bool(self._tables.rows(NAMED, name=title))

    def aliases(self, model_name: str) -> dict[str, int]:
        """Read the table: MLflow would read every version of the model, too."""
        statement = "SELECT alias, version FROM registered_model_aliases WHERE name = :name"
        with self._mlflow.explained("read the aliases"):
            rows = self._tables.rows(statement, name=model_name)
        return {str(alias): int(version) for alias, version in rows}

    def _records(self, there: Mapping[str, Version]) -> dict[str, RegisteredSubnet]:
        """Return records by the ids of their LoggedModels."""
        with self._mlflow.explained("read the records"):
            return {key: self._pool.share(item) for key, item in self._tables.records(there)}

    def _read_tally(self) -> _Tally:
        [(num_versions, num_deleted, latest_ms)] = self._tables.rows(TALLY)
        return _Tally(
            num_versions=int(num_versions),
            num_deleted=int(num_deleted),
            latest_ms=int(latest_ms),
            beside=self._read_beside(),
        )

    def _read_beside(self) -> tuple[tuple[int, int], ...]:
        return tuple((int(number), int(count)) for number, count in self._tables.rows(BESIDE))

    def _read_transactions(self) -> object:
        """Return which transactions have ended; None where only PostgreSQL could say."""
        if not self._mlflow.tracking_uri.startswith("postgres"):
            return None
        return self._tables.rows("SELECT CAST(txid_current_snapshot() AS TEXT)")[0][0]

    def _read_mark(self) -> object:
        if not is_sqlite(self._mlflow.tracking_uri):
            return tuple(self._tables.rows(MARK)[0])
        return self._find_file(), self._tables.rows("PRAGMA data_version")[0][0]

    def _find_file(self) -> int:
        """Return the number of the SQLite file; of another one, nothing was read yet."""
        number = self._tables.find_file()
        if number != self._file:
            self._tally = None
        self._file = number
        return number
