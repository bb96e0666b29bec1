"""Reads what is registered from an MLflow server, page by page."""

import time

from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.fields import DIGEST_TAG, read_model
from ofa_pipeline.registry.holdings import Holdings
from ofa_pipeline.registry.parts import LARGE_PART, Part, PartTimes
from ofa_pipeline.registry.pool import Pool
from ofa_pipeline.registry.reading import CHECK_EVERY_S, WALK_EVERY_S, Entries, Made
from ofa_pipeline.registry.record import RegisteredSubnet

_IN_A_ROW = 100
_WALKS_SHARE = 20
"""At most every so many-th second is spent on reading everything again: of ten thousand versions a
server takes most of a minute for that. What is answered is asked for beside it."""
_FEW = 5
"""So many versions are asked for one by one; of more, all of their registered models are listed."""


class ServerReader:
    """Reads what an MLflow server gives, page by page."""

    part_times = PartTimes(hold_s=CHECK_EVERY_S, spend_s=10.0)

    def __init__(self, connection: Connection, holdings: Holdings) -> None:
        """Read nothing yet."""
        self._mlflow = connection
        self._holdings = holdings
        self._pool = Pool()
        self._mark: object = None
        self._checked_at = self._walked_at = -float("inf")
        self._walk_s = 0.0

    def has_changed(self) -> bool:
        """Ask for the newest version, not more often than `CHECK_EVERY_S`."""
        now = time.monotonic()
        if now - self._checked_at < CHECK_EVERY_S:
            return False
        self._checked_at = now
        return self._is_walk_due or self._mark is None or self._mark != self._read_mark()

    @property
    def _is_walk_due(self) -> bool:
        pause_s = max(WALK_EVERY_S, _WALKS_SHARE * self._walk_s)
        return time.monotonic() - self._walked_at > pause_s

    def read(self, known: Entries) -> Entries:
        """Read all LoggedModels and versions."""
        mark, self._walked_at = self._read_mark(), time.monotonic()
        if not known:
            self._pool = Pool()
        entries = self._walk()
        self._walk_s = time.monotonic() - self._walked_at
        if known.keys() - entries.keys():
            self._pool.keep(entries.values())
        self._keep(mark, entries)
        return entries

    def part(self, part: Part) -> Entries | None:
        """Search for the LoggedModels of the part; None where they are too many for that."""
        filters = part.filters
        if filters is None:
            return None
        found: dict[str, RegisteredSubnet] = {}
        for model in self._holdings.models(filters):
            if len(found) == LARGE_PART:
                return None
            item = read_model(model)
            if part.holds(item):
                found[model.model_id] = item
        if len(found) > _FEW:
            return self._alive(found)
        exists = self._holdings.version_exists
        return {model_id: item for model_id, item in found.items() if exists(item)}

    def added(self, known: Entries) -> Entries | None:
        """Read the newest LoggedModels up to what is known; None now and then: all of them."""
        if not known or self._is_walk_due:
            return None
        mark = self._read_mark()
        new = self._new(known)
        self._keep(mark, {**new, **known})
        return new

    def made(self, model_name: str, bundle_digest: str) -> Made:
        """Search by a tag: the server goes through those of all versions of the model."""
        with self._mlflow.explained("search"):
            found = self._mlflow.client.search_model_versions(
                f"name='{model_name}' and tags.`{DIGEST_TAG}`='{bundle_digest}'"
            )
        return sorted((int(version.version), version.source or "") for version in found)

    def _keep(self, mark: tuple[str, int, object] | None, entries: Entries) -> None:
        self._checked_at = time.monotonic()
        newest = mark[:2] if mark is not None else None
        named = ((item.record.model_name, item.version) for item in entries.values())
        # The newest version may be one whose registration is not complete yet.
        self._mark = mark if any(version == newest for version in named) else None

    def came(self, known: Entries, model_name: str) -> Entries | None:  # noqa: ARG002
        """Tell nothing: the newest LoggedModels of all are read."""
        return None

    def still_counts(self, model_id: str, subnet: RegisteredSubnet) -> bool:  # noqa: ARG002
        """Ask for the version."""
        return self._holdings.version_exists(subnet)

    def may_hold(self, title: str) -> bool:  # noqa: ARG002 - of the protocol
        """Tell that there may be: MLflow's own search is all that a server gives."""
        return True

    def is_there(self, subnet: RegisteredSubnet) -> bool:
        """Ask for the version: people delete versions in MLflow's UI."""
        return self._holdings.version_exists(subnet)

    def aliases(self, model_name: str) -> dict[str, int]:
        """Search for the registered model: asked for it, the server would read every version."""
        with self._mlflow.explained(f"read the aliases of {model_name}"):
            found = self._mlflow.client.search_registered_models(f"name='{model_name}'")
        return {alias: int(version) for item in found for alias, version in item.aliases.items()}

    def _walk(self) -> Entries:
        return self._alive(
            {
                model.model_id: self._pool.share(read_model(model))
                for model in self._holdings.models([])
            }
        )

    def _alive(self, found: Entries) -> Entries:
        """Return what has a version still: people delete versions in MLflow's UI."""
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

    def _new(self, known: Entries) -> Entries:
        """Return what is newer than what is known.

        Clocks of writers differ a little: some known ones in a row end the reading, not the first.
        """
        new: dict[str, RegisteredSubnet] = {}
        met = 0
        for model in self._holdings.models([], page_size=_IN_A_ROW):
            if model.model_id in known:
                met += 1
                if met == _IN_A_ROW:
                    break
            else:
                met = 0
                new[model.model_id] = self._pool.share(read_model(model))
        return new

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
