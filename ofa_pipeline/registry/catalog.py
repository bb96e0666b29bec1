"""What is registered, kept in memory and current: the records of a registry, read once each.

A registry is asked far more often than it is written, and MLflow reads a record in milliseconds: of
ten thousand that is most of a minute. So records are kept, and before each answer it is asked
whether anything has changed, which costs the same however many there are.
"""

from threading import RLock
from typing import TYPE_CHECKING

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry.addresses import is_database
from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.database_reader import DatabaseReader
from ofa_pipeline.registry.holdings import Holdings
from ofa_pipeline.registry.lookups import Snapshot
from ofa_pipeline.registry.record import RegisteredSubnet
from ofa_pipeline.registry.server import may_hold_anything
from ofa_pipeline.registry.server_reader import ServerReader

if TYPE_CHECKING:
    from ofa_pipeline.registry.reading import Entries, Reader


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
