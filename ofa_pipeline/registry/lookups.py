"""Look-ups in a registry: one subnet, a front, a comparison, the price of a budget.

They are answered from a snapshot of what is registered, which `catalog` keeps current. Nothing here
knows where the subnets are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from ofa_pipeline.documents import Quantile
from ofa_pipeline.errors import RegistryError, shorten, shown, suggest
from ofa_pipeline.registry.choosing import (
    HomeDataset,
    comparable,
    dataset_label,
    unknown_dataset,
    visible,
)
from ofa_pipeline.registry.comparison import ComparableSubnets, Explanation
from ofa_pipeline.registry.parts import Part
from ofa_pipeline.registry.questions import Question
from ofa_pipeline.registry.record import RegisteredSubnet

MAX_COMPARED = 20
"""More do not fit a page, and a list of all is `SubnetRegistry.list_subnets`."""
MAX_URI = 300
"""Characters of an address of a version in a message: names in MLflow may have 256."""


def version_of(uri: str, aliases: Callable[[str], Mapping[str, int]]) -> str:
    """Return ``models:/NAME/VERSION`` for ``models:/NAME@ALIAS``, and everything else as it is.

    Args:
        uri: Address of a version, as MLflow takes it.
        aliases: Returns the versions that the aliases of a registered model name.

    Raises:
        RegistryError: If the registered model has no such alias; suggests the nearest.
    """
    model, at, alias = uri.rpartition("@")
    if not at or not model.startswith("models:/") or "/" in alias:
        return uri
    known = aliases(model.removeprefix("models:/"))
    if alias not in known:
        there = f"It has {', '.join(sorted(known))}." if known else "It has none."
        raise RegistryError(
            f"no version of {shorten(model, MAX_URI)} has the alias {shown(alias)}. {there}"
            f"{suggest(alias, known)}"
        )
    return f"{model}/{known[alias]}"


class Snapshot:
    """What is registered at one moment."""

    def __init__(self, subnets: Sequence[RegisteredSubnet]) -> None:
        """Keep the subnets.

        Args:
            subnets: The newest first.
        """
        self.subnets = tuple(subnets)
        self._comparable: dict[
            tuple[str | None, str | None, HomeDataset | None], ComparableSubnets
        ] = {}

    @cached_property
    def by_uri(self) -> dict[str, RegisteredSubnet]:
        """The subnets by ``models:/NAME/VERSION``."""
        return {item.model_uri: item for item in self.subnets}

    def on_device(self, device: str | None) -> tuple[RegisteredSubnet, ...]:
        """Return what was measured on a device; None: everything."""
        return tuple(item for item in self.subnets if device in (None, *item.record.latency))

    def comparable(
        self, device: str | None, *, dataset: str | None, home: HomeDataset | None, where: str
    ) -> ComparableSubnets:
        """Return the subnets that a question is about; the next one of its kind is quick.

        Args:
            device: As `Question.device`.
            dataset: As `Question.dataset`.
            home: The dataset of the workspace that asks.
            where: The registry, for messages.

        Raises:
            RegistryError: If nothing is registered for them, or several datasets are.
        """
        key = (device, dataset, home)
        if key not in self._comparable:
            measured = self.on_device(device)
            if not measured:
                raise self._nothing_on(device, where)
            seen = visible(measured, dataset=dataset, home=home)
            if not seen:
                raise unknown_dataset(
                    measured, dataset=dataset, home=home, device=device, where=where
                )
            answers = comparable(seen, dataset=dataset, home=home)
            self._comparable[key] = ComparableSubnets(answers, device=device)
        return self._comparable[key]

    def listed(self, device: str | None, *, where: str) -> tuple[RegisteredSubnet, ...]:
        """Return what was measured on a device; None: everything.

        Args:
            device: As `Question.device`.
            where: The registry, for messages.

        Raises:
            RegistryError: If subnets are registered, but none for the device.
        """
        found = self.on_device(device)
        if self.subnets and not found:
            raise self._nothing_on(device, where)
        return found

    def _nothing_on(self, device: str | None, where: str) -> RegistryError:
        """Return the error for a device on which nothing registered was measured; None: for any."""
        if not self.subnets or device is None:
            return RegistryError(
                f"no subnet{f' measured on {shown(device)}' if device else ''} is registered on "
                f"{where}. The registry is empty: run ofa-pipeline run."
            )
        known = sorted({name for item in self.subnets for name in item.record.latency})
        return RegistryError(
            f"no subnet measured on {shown(device)} is registered on {where}."
            f"{suggest(device, known)}"
        )


class Lookups:
    """The questions that a registry answers."""

    def __init__(
        self,
        snapshot: Callable[[Part | None], Snapshot],
        *,
        home: Callable[[], HomeDataset | None],
        where: str,
        gone: Callable[[Part], str] = lambda _: "",
    ) -> None:
        """Look nothing up yet.

        Args:
            snapshot: Returns what is registered now: at least the part that is given.
            home: Returns the dataset of the workspace that asks, None outside of one; called by
                questions that name no dataset.
            where: The registry, for messages.
            gone: Returns what has become of a part that nothing is found of, for messages.
        """
        self._snapshot = snapshot
        self._gone = gone
        self._home = home
        self._where = where

    def choose(self, question: Question) -> RegisteredSubnet:
        """Return the best subnet within the bounds; see `SubnetRegistry.choose`."""
        subnets = self._comparable(question.device, question.dataset)
        found = subnets.best(question)
        if found is None:
            raise subnets.infeasible(question)
        return found

    def runner_up(self, question: Question) -> RegisteredSubnet | None:
        """Return the second best subnet within the bounds; see `SubnetRegistry.runner_up`."""
        return self._comparable(question.device, question.dataset).runner_up(question)

    def explain(self, question: Question) -> Explanation:
        """Return the best subnet and the price of the budget; see `SubnetRegistry.explain`."""
        subnets = self._comparable(question.device, question.dataset)
        found = subnets.explain(question)
        if found is None:
            raise subnets.infeasible(question)
        return found

    def front(
        self, *, device: str, quantile: Quantile = "p50", dataset: str | None = None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return the Pareto front of a device; see `SubnetRegistry.front`."""
        question = Question(device=device, quantile=quantile, dataset=dataset)
        return self._comparable(question.device, question.dataset).front(question.quantile)

    def compare(self, uris: Sequence[str]) -> tuple[RegisteredSubnet, ...]:
        """Return versions to look at side by side; see `SubnetRegistry.compare`."""
        if not 1 < len(set(uris)) == len(uris) <= MAX_COMPARED:
            raise RegistryError(
                f"compare takes from 2 to {MAX_COMPARED} different versions, got {len(uris)} "
                f"({len(set(uris))} different). Each reads models:/NAME/VERSION."
            )
        found = tuple(self.version(uri) for uri in uris)
        digests = {item.record.dataset_digest for item in found}
        if len(digests) > 1:
            named = [f"{item.model_uri} of {dataset_label(item.record)}" for item in found]
            raise RegistryError(
                "accuracies on different images do not compare: the versions must be of one "
                f"dataset with one digest, got {len(digests)}: {', '.join(named)}. Compare those "
                "of one dataset."
            )
        return found

    def version(self, uri: str) -> RegisteredSubnet:
        """Return a version of whatever dataset; see `SubnetRegistry.version`."""
        name, _, number = uri.removeprefix("models:/").rpartition("/")
        is_uri = uri.startswith("models:/") and name and "/" not in name and number.isdecimal()
        part = Part(model_name=name, version=number) if is_uri else None
        known = self._snapshot(part).by_uri
        if uri not in known and part is not None:
            known = self._snapshot(None).by_uri
        if uri not in known:
            if part is not None and (fate := self._gone(part)):
                raise RegistryError(f"the registry has no {shorten(uri, MAX_URI)}. {fate}")
            form = "" if is_uri else " It should read models:/NAME/VERSION."
            raise RegistryError(
                f"the registry has no {shorten(uri, MAX_URI)}.{form}{suggest(uri, known)} See what "
                "there is: ofa-pipeline subnets --dataset any"
            )
        return known[uri]

    def list_subnets(
        self, *, device: str | None = None, dataset: str | None = None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return what is registered; see `SubnetRegistry.list_subnets`."""
        question = Question(device=device, dataset=dataset)
        home = self._home() if dataset is None else None
        listed = self._about(question.device).listed(question.device, where=self._where)
        kept = visible(listed, dataset=dataset, home=home)
        return tuple(
            sorted(
                kept, key=lambda item: (item.record.device, item.record.latency_ms, item.version)
            )
        )

    def _comparable(self, device: str | None, dataset: str | None) -> ComparableSubnets:
        home = self._home() if dataset is None else None
        return self._about(device).comparable(device, dataset=dataset, home=home, where=self._where)

    def _about(self, device: str | None) -> Snapshot:
        """Return what is registered for a device, or everything where that is nothing."""
        if device is None:
            return self._snapshot(None)
        part = Part(device=device)
        found = self._snapshot(part)
        if found.subnets:
            return found
        found = self._snapshot(None)
        if not found.on_device(device) and (fate := self._gone(part)):
            raise RegistryError(
                f"no subnet measured on {shown(device)} is registered on {self._where}. {fate}"
            )
        return found
