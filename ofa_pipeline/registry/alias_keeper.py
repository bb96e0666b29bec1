"""Keeps the aliases of registered models current in MLflow."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from ofa_pipeline.registry.aliases import Named, budgets_of, fresh_targets
from ofa_pipeline.registry.catalog import Catalog
from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.parts import Part
from ofa_pipeline.registry.record import RegisteredSubnet

_MADE_MEANWHILE = re.compile("unique constraint|duplicate", re.IGNORECASE)
"""What databases say of a row that is there already."""


class AliasKeeper:
    """Moves aliases where `aliases` says so; remembers what is right, so as not to look again."""

    def __init__(
        self,
        connection: Connection,
        catalog: Catalog,
        *,
        is_stale: Callable[[RegisteredSubnet], bool],
    ) -> None:
        """Look at nothing yet.

        Args:
            connection: To MLflow.
            catalog: Of what is registered there.
            is_stale: Whether the device of a version has changed since it was certified.
        """
        self._mlflow = connection
        self._catalog = catalog
        self._is_stale = is_stale
        self._named: dict[str, Named] = {}

    def move(self, model_name: str) -> None:
        """Let the alias of every budget name what `fresh_targets` says.

        Raises:
            RegistryError: If the registry refuses.
        """
        with self._mlflow.explained(f"move the aliases of {model_name}"):
            versions = self._catalog.versions(model_name)
            aliases = self._catalog.aliases(model_name)
            before = self._named.pop(model_name, None)
            if (
                before is not None
                and before.stays(versions, aliases)
                and not any(map(self._is_stale, _distinct(before.targets)))
            ):
                self._named[model_name] = replace(before, versions=versions)
                return
            self._catalog.snapshot(
                Part(model_name=model_name)
            )  # nothing that was deleted may be named
            versions = self._catalog.versions(model_name)
            stale: list[RegisteredSubnet] = []

            def is_stale(item: RegisteredSubnet) -> bool:
                if found := self._is_stale(item):
                    stale.append(item)
                return found

            targets = fresh_targets(versions, aliases, is_stale=is_stale)
            moved = {
                name: item for name, item in targets.items() if _moves(item, aliases.get(name))
            }
            if not all(map(self._catalog.is_there, _distinct(moved))):
                self.move(model_name)  # somebody has deleted it; everything is read again
                return
            now = self._set_all(model_name, aliases, targets)
            if not stale:
                self._named[model_name] = Named(
                    versions=versions,
                    aliases=now,
                    targets=targets,
                    budgets_ms=budgets_of(versions),
                )

    def _set_all(
        self,
        model_name: str,
        aliases: Mapping[str, int],
        targets: Mapping[str, RegisteredSubnet | None],
    ) -> dict[str, int]:
        """Let aliases name their targets; return what all aliases of the model name then."""
        now = dict(aliases)
        for alias, target in targets.items():
            if target is None:
                if now.pop(alias, None) is not None:
                    self._mlflow.models.delete_registered_model_alias(model_name, alias)
            elif _moves(target, now.get(alias)):
                self.set(target, alias)
                now[alias] = target.version
        return now

    def set(self, subnet: RegisteredSubnet, alias: str) -> None:
        """Let an alias name a version; see `SubnetRegistry.set_alias`."""
        name, version = subnet.record.model_name, str(subnet.version)
        with self._mlflow.explained(f"set the alias {alias} of {name}"):
            from mlflow.exceptions import MlflowException

            try:
                self._mlflow.models.set_registered_model_alias(name, alias, version)
            except MlflowException as error:
                # MLflow looks whether it is there, then inserts: another writer was in between.
                if not _MADE_MEANWHILE.search(str(error)):
                    raise
                self._mlflow.models.set_registered_model_alias(name, alias, version)


def _moves(target: RegisteredSubnet | None, version: int | None) -> bool:
    """Tell whether an alias is to name another version than it does."""
    return target is not None and target.version != version


def _distinct(targets: Mapping[str, RegisteredSubnet | None]) -> list[RegisteredSubnet]:
    """Return what is named, each once: it may have become stale since it was looked at."""
    return list({item.version: item for item in targets.values() if item is not None}.values())
