"""The registry on MLflow: a LoggedModel and a version of a registered model for each subnet.

What counts as registered is told in `holdings`. What an interrupted run left is removed by the
next; how many processes and machines register at once without harm is told in `registration`.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.documents import Quantile
from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry.addresses import sqlite_path
from ofa_pipeline.registry.alias_keeper import AliasKeeper
from ofa_pipeline.registry.catalog import Catalog
from ofa_pipeline.registry.choosing import HomeDataset
from ofa_pipeline.registry.comparison import Explanation
from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.database import make_in_background
from ofa_pipeline.registry.ensuring import ensure_experiment, ensure_model, is_ours
from ofa_pipeline.registry.fields import STALE_TAG, of_bundle, title_of
from ofa_pipeline.registry.holdings import Holdings
from ofa_pipeline.registry.lookups import Lookups, Snapshot, version_of
from ofa_pipeline.registry.origin import read_origin
from ofa_pipeline.registry.pages import renew_pages, renew_records
from ofa_pipeline.registry.parts import Part
from ofa_pipeline.registry.protocol import Entry, Origin, RunNotes, WorkNotes
from ofa_pipeline.registry.questions import Bounds, OtherBounds, Question
from ofa_pipeline.registry.record import RegisteredSubnet, SubnetRecord, UnreadableRecordError
from ofa_pipeline.registry.registration import Shelf, register_one
from ofa_pipeline.registry.runs import end_abandoned_runs, log_once, open_run, runs_of
from ofa_pipeline.registry.server import (
    ambient_tracking_uri,
    check_reachable,
    may_hold_anything,
)
from ofa_pipeline.registry.verify import check_files

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

SWEEP_EVERY_S = 60.0
"""So often the runs that killed processes left are looked for."""


class MlflowRegistry:
    """A `SubnetRegistry` in an MLflow tracking server, database or SQLite file."""

    def __init__(
        self,
        tracking_uri: str,
        *,
        experiment: str = "once-for-all",
        artifacts: str | None = None,
        home: Callable[[], HomeDataset | None] = lambda: None,
    ) -> None:
        """Name the registry; nothing is opened yet.

        Args:
            tracking_uri: As MLflow takes it.
            experiment: Where registrations are logged; look-ups see all experiments of ours.
            artifacts: URI where a new experiment keeps its files; None lets the server decide.
            home: Returns the dataset of the workspace that asks, None outside of one; called by
                look-ups that name no dataset.
        """
        self.tracking_uri = tracking_uri
        self._mlflow = Connection(tracking_uri)
        self._holdings = Holdings(self._mlflow)
        self._catalog = Catalog(self._mlflow, self._holdings)
        self._lookups = Lookups(
            self._catalog.snapshot, home=home, where=self._mlflow.where, gone=self._holdings.gone
        )
        self._aliases = AliasKeeper(
            self._mlflow,
            self._catalog,
            is_stale=lambda subnet: bool(self.mark(subnet, STALE_TAG)),
        )
        self._experiment = experiment
        self._artifacts = artifacts
        self._swept_at = -math.inf

    @property
    def may_hold_anything(self) -> bool:
        """Whether it is not a SQLite file that nobody has made yet."""
        return may_hold_anything(self.tracking_uri)

    # ---- look-ups ----------------------------------------------------------------------------

    def check(self, model_names: Iterable[str] = ()) -> None:
        """Check quickly that the registry answers and that the names are ours or free.

        A SQLite file that is not there is not made: that takes seconds, and nothing needs it yet.

        Raises:
            RegistryError: If it cannot be reached, or a model of that name is foreign.
        """
        check_reachable(self.tracking_uri)
        if not may_hold_anything(self.tracking_uri):
            return
        with self._mlflow.explained("look up the experiment"):
            experiment = self._mlflow.client.get_experiment_by_name(self._experiment)
        if experiment is not None and experiment.lifecycle_stage != "active":
            raise RegistryError(
                f"the experiment {self._experiment!r} on {self._mlflow.where} was deleted. Restore "
                f"it (mlflow experiments restore -x {experiment.experiment_id}) or choose another "
                "name in registry.experiment."
            )
        for name in model_names:
            is_ours(self._mlflow, name)

    def prepare(self) -> Callable[[], None]:
        """Begin to make the SQLite file of the registry, if it is one and not there.

        Returns:
            What waits until it is made; it raises nothing.
        """
        if may_hold_anything(self.tracking_uri):
            return lambda: None
        return make_in_background(sqlite_path(self.tracking_uri))

    def choose(self, **bounds: Unpack[Bounds]) -> RegisteredSubnet:
        """Return the best subnet within the bounds; see `SubnetRegistry.choose`."""
        return self.answer(Question(**bounds))

    def answer(self, question: Question) -> RegisteredSubnet:
        """Return the best subnet within the bounds of a question; see `SubnetRegistry.choose`."""
        found = self._lookups.choose(question)
        # Of a server it is not told that a version was deleted.
        return found if self._catalog.is_there(found) else self._lookups.choose(question)

    def best(
        self, *, device: str, max_latency_ms: float, **bounds: Unpack[OtherBounds]
    ) -> RegisteredSubnet:
        """Return the most accurate subnet within a latency; see `SubnetRegistry.best`."""
        return self.answer(Question(device=device, max_latency_ms=max_latency_ms, **bounds))

    def runner_up(self, question: Question) -> RegisteredSubnet | None:
        """Return the second best subnet within the bounds; see `SubnetRegistry.runner_up`."""
        return self._lookups.runner_up(question)

    def explain(self, question: Question) -> Explanation:
        """Return the best subnet and the price of the budget; see `SubnetRegistry.explain`."""
        return self._lookups.explain(question)

    def front(
        self, *, device: str, quantile: Quantile = "p50", dataset: str | None = None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return the Pareto front of a device; see `SubnetRegistry.front`."""
        return self._lookups.front(device=device, quantile=quantile, dataset=dataset)

    def compare(self, uris: Sequence[str]) -> tuple[RegisteredSubnet, ...]:
        """Return versions to look at side by side; see `SubnetRegistry.compare`."""
        return self._lookups.compare([version_of(uri, self.aliases) for uri in uris])

    def version(self, uri: str) -> RegisteredSubnet:
        """Return a version of whatever dataset; see `SubnetRegistry.version`."""
        return self._lookups.version(version_of(uri, self.aliases))

    def list_subnets(
        self, *, device: str | None = None, dataset: str | None = None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return what is registered; see `SubnetRegistry.list_subnets`."""
        return self._lookups.list_subnets(device=device, dataset=dataset)

    def snapshot(self, part: Part | None = None) -> Snapshot:
        """Return what is registered now; see `SubnetRegistry.snapshot`."""
        return self._catalog.snapshot(part)

    def find(self, *, model_name: str, bundle_digest: str) -> RegisteredSubnet | None:
        """Return the subnet with this content, or None; its files must be there, too."""
        for model_id, subnet in self._catalog.copies(model_name, bundle_digest):
            counts = self._catalog.still_counts(model_id, subnet)
            if counts and self._holdings.has_files(model_id):
                return subnet
        return None

    def download(self, subnet: RegisteredSubnet, folder: Path) -> Path:
        """Bring the bundle of a registered subnet into a folder and return where it lies.

        Raises:
            RegistryError: If its files are gone, or are not those that were registered.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        folder.mkdir(parents=True, exist_ok=True)
        ambient = ambient_tracking_uri(self.tracking_uri)
        with self._mlflow.explained(f"download {subnet.model_uri}"), ambient:
            # Given the name of a version, MLflow reads every version of the model.
            location = self._mlflow.models.get_model_version_download_uri(
                subnet.record.model_name, str(subnet.version)
            )
            files = get_artifact_repository(location)
            path: str = files.download_artifacts("artifacts", str(folder))  # type: ignore[no-untyped-call]
        bundles = [item.parent for item in Path(path).glob(f"*/{Layout.SUBNET}")]
        if len(bundles) != 1:
            raise RegistryError(
                f"{subnet.model_uri} on {self._mlflow.where} must hold one bundle, found "
                f"{len(bundles)}. Run the stage register again: it registers what has lost its "
                "files."
            )
        check_files(bundles[0], subnet, where=self._mlflow.where)
        return bundles[0]

    def registered_at(self, subnet: RegisteredSubnet) -> datetime:
        """Return when a version was registered; see `SubnetRegistry.registered_at`."""
        with self._mlflow.explained(f"look up {subnet.model_uri}"):
            version = self._mlflow.client.get_model_version(
                subnet.record.model_name, str(subnet.version)
            )
        return datetime.fromtimestamp((version.creation_timestamp or 0) / 1000, UTC)

    def origin(self, subnet: RegisteredSubnet, folder: Path) -> Origin:
        """Return where a version was registered from; see `SubnetRegistry.origin`."""
        model_id, digests = self._catalog.model_id(subnet), subnet.record.lineage.values()
        with self._mlflow.explained(f"look up where {subnet.model_uri} comes from"):
            return read_origin(self._mlflow.client, model_id, folder, digests=digests)

    # ---- registration ------------------------------------------------------------------------

    def register(self, record: SubnetRecord, bundle_folder: Path) -> RegisteredSubnet:
        """Register one subnet; one with the same content digest is returned as it is."""
        entry = Entry(record=record, bundle_folder=bundle_folder)
        notes = RunNotes(name=f"register {record.label}")
        return self.register_all([entry], notes=notes)[0]

    def register_all(
        self, entries: Sequence[Entry], *, notes: RunNotes
    ) -> tuple[RegisteredSubnet, ...]:
        """Register subnets in one run; see `SubnetRegistry.register_all`."""
        with self._mlflow.explained("register subnets"), self._mlflow.alone():
            try:
                return self._register_all(entries, notes)
            except UnreadableRecordError:
                if not renew_records(self._holdings, self._mlflow, entries):
                    raise
                return self._register_all(entries, notes)

    def _register_all(
        self, entries: Sequence[Entry], notes: RunNotes
    ) -> tuple[RegisteredSubnet, ...]:
        """Register subnets; the file of the registry is this process's alone."""
        self._sweep_runs()
        found = [
            self.find(model_name=entry.record.model_name, bundle_digest=entry.record.bundle_digest)
            for entry in entries
        ]
        names = sorted({entry.record.model_name for entry in entries})
        works = self._log_works(notes.works)
        known = {
            model_id: subnet
            for subnet in found
            if subnet is not None
            for model_id, item in self._catalog.copies(
                subnet.record.model_name, subnet.record.bundle_digest
            )
            if item == subnet
        }
        registered = tuple(subnet for subnet in found if subnet is not None)
        if len(registered) < len(entries):
            for name in names:
                if not self._catalog.versions(name):  # MLflow would read every version of it
                    ensure_model(self._mlflow, name)
            registered = self._register_missing(entries, found, notes, works=works)
            self._catalog.expire(registered)
        renew_pages(self._mlflow, entries, known, works=works)
        for name in names:
            self._aliases.move(name)
        return registered

    def _sweep_runs(self) -> None:
        """End the runs that killed processes left, at most once a minute.

        To find them MLflow goes through all runs that ever were.
        """
        if time.monotonic() - self._swept_at > SWEEP_EVERY_S:
            end_abandoned_runs(self._mlflow.client, self._holdings.experiment_ids())
            self._swept_at = time.monotonic()

    def _register_missing(
        self,
        entries: Sequence[Entry],
        found: Sequence[RegisteredSubnet | None],
        notes: RunNotes,
        *,
        works: Mapping[str, str],
    ) -> tuple[RegisteredSubnet, ...]:
        """Register what was not found, in one run of the registry."""
        with open_run(self._mlflow.client, self._experiment_id, notes, works=works) as run:
            shelf = Shelf(
                client=self._mlflow.client,
                versions=self._mlflow.models,
                tracking_uri=self.tracking_uri,
                experiment_id=self._experiment_id,
                models_of=self._models_of,
                lowest=self._holdings.lowest,
                made=self._catalog.made,
            )
            return tuple(
                subnet or register_one(entry, run, shelf)
                for subnet, entry in zip(found, entries, strict=True)
            )

    def _models_of(self, record: SubnetRecord) -> "list[LoggedModel]":
        """Return the LoggedModels with the content of a record, complete or not."""
        if not self._catalog.may_hold(title_of(record)):
            return []
        return list(self._holdings.models(of_bundle(record), complete=False))

    def log_work(self, work: WorkNotes) -> None:
        """Write the run of some finished work, once.

        Raises:
            RegistryError: If the registry refuses.
        """
        with self._mlflow.explained(f"log {work.name}"), self._mlflow.alone():
            self._sweep_runs()
            self._log_works([work])

    def has_work(self, digest: str) -> bool:
        """Whether the work that an artifact shows has its run."""
        if not may_hold_anything(self.tracking_uri):
            return False
        with self._mlflow.explained("look for a run"):
            experiments = self._holdings.experiment_ids()
            return bool(experiments and runs_of(self._mlflow.client, experiments, digest))

    def _log_works(self, works: Sequence[WorkNotes]) -> dict[str, str]:
        """Write the runs of finished work and return their ids, by digest."""
        client = self._mlflow.client
        return {work.digest: log_once(client, self._experiment_id, work) for work in works}

    def move_aliases(self, model_name: str) -> None:
        """Let the alias of every budget name what `fresh_targets` says.

        Called after each registration and when certificates have become stale: what came may be
        better than what was picked for a budget before, and what was picked may be gone. Versions
        are written whole before, so what a kill leaves out here the next registration mends.

        Args:
            model_name: Name of a registered model of ours.

        Raises:
            RegistryError: If the registry refuses.
        """
        with self._mlflow.explained(f"move the aliases of {model_name}"), self._mlflow.alone():
            self._aliases.move(model_name)

    def aliases(self, model_name: str) -> dict[str, int]:
        """Return the aliases of a registered model; see `SubnetRegistry.aliases`."""
        return self._catalog.aliases(model_name)

    def set_alias(self, subnet: RegisteredSubnet, alias: str) -> None:
        """Let an alias name a version; see `SubnetRegistry.set_alias`."""
        self._aliases.set(subnet, alias)

    def mark(self, subnet: RegisteredSubnet, tag: str) -> str:
        """Return what somebody wrote on a version later; see `SubnetRegistry.mark`."""
        with self._mlflow.explained(f"read {tag} of {subnet.model_uri}"):
            model = self._mlflow.client.get_logged_model(self._catalog.model_id(subnet))
        return str(model.tags.get(tag, ""))

    def set_mark(self, subnet: RegisteredSubnet, tag: str, text: str) -> None:
        """Write something on a version; see `SubnetRegistry.set_mark`."""
        with self._mlflow.explained(f"write {tag} of {subnet.model_uri}"):
            self._mlflow.client.set_logged_model_tags(self._catalog.model_id(subnet), {tag: text})

    @cached_property
    def _experiment_id(self) -> str:
        return ensure_experiment(self._mlflow.client, self._experiment, artifacts=self._artifacts)
