"""What is registered, kept in memory and current: the records of a registry, read once each.

A registry is asked far more often than it is written, and MLflow reads a record in milliseconds: of
ten thousand that is most of a minute. So records are kept, and before each answer it is asked
whether anything has changed, which costs the same however many there are.
"""

from collections.abc import Iterable
from threading import RLock
from typing import TYPE_CHECKING

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry.addresses import is_database
from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.database_reader import DatabaseReader
from ofa_pipeline.registry.holdings import Holdings
from ofa_pipeline.registry.lookups import Snapshot
from ofa_pipeline.registry.parts import Part, Parts
from ofa_pipeline.registry.reading import Entries, Made
from ofa_pipeline.registry.record import RegisteredSubnet
from ofa_pipeline.registry.server import may_hold_anything
from ofa_pipeline.registry.server_reader import ServerReader

if TYPE_CHECKING:
    from ofa_pipeline.registry.reading import Reader


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
        self._parts = Parts(self._reader.part, self._reader.part_times)
        self._lock = RLock()
        self._snapshot: Snapshot | None = None
        """Of the entries, made when it is asked for."""
        self._is_read = self._is_expired = False
        self._keep({})

    def snapshot(self, part: Part | None = None) -> Snapshot:
        """Return what is registered now.

        Args:
            part: What the question is about; more may be returned. None: everything.

        Raises:
            RegistryError: If the registry cannot be read.
        """
        if not may_hold_anything(self._uri):
            return Snapshot(())
        with self._lock:
            if part is not None and (found := self._part(part)) is not None:
                return Snapshot(tuple(found.values()))
            self._renew()
            if self._snapshot is None:
                self._snapshot = Snapshot(tuple(reversed(self._entries.values())))
            return self._snapshot

    def _part(self, part: Part) -> Entries | None:
        """Return a part of what is registered; None where all is known, or has to be."""
        if self._is_read or not may_hold_anything(self._uri):
            return None
        return self._parts.entries(part)

    def _renew(self) -> None:
        """See every change that anybody has made."""
        if self._is_read and not self._is_expired and not self._reader.has_changed():
            return
        added = self._reader.added(self._entries) if self._is_read else None
        if added is None:
            self._keep(self._reader.read(self._entries))
        else:
            self._add(added)
        self._is_read, self._is_expired = True, False

    def _catch_up(self, model_name: str) -> None:
        """See what has come to a registered model: what registering needs, however much there is.

        What somebody deleted meanwhile may still be held.
        """
        if not may_hold_anything(self._uri):
            return
        added = self._reader.came(self._entries, model_name) if self._is_read else None
        if added is None:
            self._renew()
        else:
            self._add(added)

    def _forget(self) -> None:
        """Read everything anew when it is next asked for."""
        self._parts.forget()
        self._keep({})
        self._is_read = self._is_expired = False

    def _keep(self, entries: Entries) -> None:
        """Hold these entries, and nothing else."""
        self._snapshot = None
        self._entries: dict[str, RegisteredSubnet] = dict(reversed(list(entries.items())))
        """The oldest first: what comes is put at the end."""
        self._copies: dict[tuple[str, str], dict[str, RegisteredSubnet]] = {}
        versions: dict[str, list[RegisteredSubnet]] = {}
        for model_id, item in entries.items():
            self._copies.setdefault(_content(item), {})[model_id] = item
            versions.setdefault(item.record.model_name, []).append(item)
        self._versions = {name: _newest_first(items) for name, items in versions.items()}

    def _add(self, added: Entries) -> None:
        """Put what is newer to the entries."""
        if not added:
            return
        self._snapshot = None
        for model_id, item in reversed(list(added.items())):
            self._entries[model_id] = item
            self._copies.setdefault(_content(item), {})[model_id] = item
            name = item.record.model_name
            self._versions[name] = _with_newest(item, self._versions.get(name, ()))

    def versions(self, model_name: str) -> tuple[RegisteredSubnet, ...]:
        """Return the versions of a registered model, the newest first; see `_catch_up`."""
        with self._lock:
            if (found := self._part(Part(model_name=model_name))) is not None:
                return _newest_first(found.values())
            self._catch_up(model_name)
            return self._versions.get(model_name, ())

    def copies(
        self, model_name: str, bundle_digest: str
    ) -> tuple[tuple[str, RegisteredSubnet], ...]:
        """Return the versions of one content with the ids of their LoggedModels, lowest first.

        See `_catch_up`.
        """
        with self._lock:
            found = self._part(Part(model_name=model_name, bundle_digest=bundle_digest))
            if found is None:
                self._catch_up(model_name)
                found = dict(self._copies.get((model_name, bundle_digest), {}))
        return tuple(sorted(found.items(), key=lambda copy: copy[1].version))

    def model_id(self, subnet: RegisteredSubnet) -> str:
        """Return the id of a version's LoggedModel.

        Raises:
            RegistryError: If the version is gone.
        """
        for key, item in self.copies(subnet.record.model_name, subnet.record.bundle_digest):
            if item.version == subnet.version:
                return key
        raise RegistryError(f"{subnet.model_uri} is gone: somebody deleted it.")

    def made(self, model_name: str, bundle_digest: str) -> Made:
        """Return the versions of a content that were made, whole or not; see `Reader.made`."""
        with self._lock:
            return self._reader.made(model_name, bundle_digest)

    def aliases(self, model_name: str) -> dict[str, int]:
        """Return the versions that the aliases of a registered model name."""
        return self._reader.aliases(model_name)

    def is_there(self, subnet: RegisteredSubnet) -> bool:
        """Tell whether a version still exists; if not, everything is read again."""
        if self._reader.is_there(subnet):
            return True
        with self._lock:
            self._forget()
        return False

    def still_counts(self, model_id: str, subnet: RegisteredSubnet) -> bool:
        """Ask the registry itself whether a version counts; if not, everything is read again."""
        if self._reader.still_counts(model_id, subnet):
            return True
        with self._lock:
            self._forget()
        return False

    def may_hold(self, title: str) -> bool:
        """Tell whether there may be a LoggedModel of this name, complete or not."""
        return self._reader.may_hold(title)

    def expire(self, written: Iterable[RegisteredSubnet]) -> None:
        """Look for what is new before the next answer: this process has written.

        Where something is missing then, a clock is behind, and everything is read again.
        """
        with self._lock:
            self._parts.forget()
            if not self._is_read:
                return
            items, self._is_expired = tuple(written), True
            for name in {item.record.model_name for item in items}:
                self._catch_up(name)
            if any(item not in self._copies.get(_content(item), {}).values() for item in items):
                self._forget()


def _newest_first(versions: Iterable[RegisteredSubnet]) -> tuple[RegisteredSubnet, ...]:
    """Return versions of one model by their numbers: clocks can be set back."""
    return tuple(sorted(versions, key=lambda item: item.version, reverse=True))


def _with_newest(
    item: RegisteredSubnet, versions: tuple[RegisteredSubnet, ...]
) -> tuple[RegisteredSubnet, ...]:
    """Return versions of one model, the newest first, with one more."""
    if versions and versions[0].version > item.version:
        return _newest_first((item, *versions))
    return (item, *versions)


def _content(subnet: RegisteredSubnet) -> tuple[str, str]:
    """Return what tells copies of one content from everything else."""
    return subnet.record.model_name, subnet.record.bundle_digest
