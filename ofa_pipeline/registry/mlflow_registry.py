"""The registry on MLflow: a LoggedModel and a version of a registered model for each subnet.

What counts as registered is told in `holdings`. What an interrupted run left is removed by the
next; how many processes and machines register at once without harm is told in `registration`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry.addresses import sqlite_path
from ofa_pipeline.registry.choosing import (
    HomeDataset,
    alias_targets,
    check_bounds,
    comparable,
    most_accurate,
    unknown_dataset,
)
from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.database import make_in_background
from ofa_pipeline.registry.fields import (
    EXPERIMENT_TAGS,
    OWNER,
    OWNER_TAG,
    latency_metric,
    of_bundle,
    of_model,
    read_model,
)
from ofa_pipeline.registry.holdings import Holdings
from ofa_pipeline.registry.model_card import MODEL_VERSIONS_TAG, Links
from ofa_pipeline.registry.protocol import Entry, RunNotes, WorkNotes, infeasible
from ofa_pipeline.registry.record import RegisteredSubnet, SubnetRecord
from ofa_pipeline.registry.registration import Shelf, register_one, renew_page
from ofa_pipeline.registry.runs import NOTE_TAG, end_abandoned_runs, log_once, open_run, runs_of
from ofa_pipeline.registry.server import (
    ambient_tracking_uri,
    check_reachable,
    may_hold_anything,
)
from ofa_pipeline.registry.verify import check_files

Found = TypeVar("Found")


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
        self._experiment = experiment
        self._artifacts = artifacts
        self._home = home

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
            self._is_ours(name)

    def prepare(self) -> Callable[[], None]:
        """Begin to make the SQLite file of the registry, if it is one and not there.

        Returns:
            What waits until it is made; it raises nothing.
        """
        if may_hold_anything(self.tracking_uri):
            return lambda: None
        return make_in_background(sqlite_path(self.tracking_uri))

    def choose(
        self,
        *,
        device: str | None = None,
        max_latency_ms: float | None = None,
        min_accuracy: float | None = None,
        dataset: str | None = None,
    ) -> RegisteredSubnet:
        """Return the most accurate subnet within the bounds; see `SubnetRegistry.choose`."""
        check_bounds(max_latency_ms=max_latency_ms, min_accuracy=min_accuracy)
        home = self._home() if dataset is None else None
        seen = self._holdings.visible(device, dataset=dataset, home=home)
        if not seen:
            known = self._holdings.on_device(device)
            if not known:
                raise self._holdings.nothing_on(device)
            raise unknown_dataset(
                known, dataset=dataset, home=home, device=device, where=self._mlflow.where
            )
        answers = comparable(seen, dataset=dataset, home=home)
        chosen = most_accurate(
            answers, device=device, max_latency_ms=max_latency_ms, min_accuracy=min_accuracy
        )
        if chosen is None:
            raise infeasible(
                answers, device=device, max_latency_ms=max_latency_ms, min_accuracy=min_accuracy
            )
        return chosen

    def best(
        self,
        *,
        device: str,
        max_latency_ms: float,
        min_accuracy: float | None = None,
        dataset: str | None = None,
    ) -> RegisteredSubnet:
        """Return the most accurate subnet within a latency; see `SubnetRegistry.best`."""
        latency_metric(device)  # refuses what is no name, an empty one too
        return self.choose(
            device=device,
            max_latency_ms=max_latency_ms,
            min_accuracy=min_accuracy,
            dataset=dataset,
        )

    def list_subnets(
        self, *, device: str | None = None, dataset: str | None = None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return what is registered, ordered by device, then latency."""
        home = self._home() if dataset is None else None
        kept = self._holdings.visible(device, dataset=dataset, home=home)
        return tuple(
            sorted(
                kept, key=lambda item: (item.record.device, item.record.latency_ms, item.version)
            )
        )

    def find(self, *, model_name: str, bundle_digest: str) -> RegisteredSubnet | None:
        """Return the subnet with this content, or None; its files must be there, too."""
        return self._holdings.lowest(self._holdings.models(of_bundle(model_name, bundle_digest)))

    def download(self, subnet: RegisteredSubnet, folder: Path) -> Path:
        """Bring the bundle of a registered subnet into a folder and return where it lies.

        Raises:
            RegistryError: If its files are gone, or are not those that were registered.
        """
        from mlflow.artifacts import download_artifacts

        folder.mkdir(parents=True, exist_ok=True)
        ambient = ambient_tracking_uri(self.tracking_uri)
        with self._mlflow.explained(f"download {subnet.model_uri}"), ambient:
            path = download_artifacts(
                artifact_uri=f"{subnet.model_uri}/artifacts", dst_path=str(folder)
            )
        bundles = [item.parent for item in Path(path).glob(f"*/{Layout.SUBNET}")]
        if len(bundles) != 1:
            raise RegistryError(
                f"{subnet.model_uri} on {self._mlflow.where} must hold one bundle, found "
                f"{len(bundles)}. Run the stage register again: it registers what has lost its "
                "files."
            )
        check_files(bundles[0], subnet, where=self._mlflow.where)
        return bundles[0]

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
            end_abandoned_runs(self._mlflow.client, self._holdings.experiment_ids())
            found = [
                self.find(
                    model_name=entry.record.model_name, bundle_digest=entry.record.bundle_digest
                )
                for entry in entries
            ]
            names = sorted({entry.record.model_name for entry in entries})
            works = self._log_works(notes.works)
            registered = tuple(subnet for subnet in found if subnet is not None)
            if len(registered) < len(entries):
                for name in names:
                    self._ensure_model(name)
                registered = self._register_missing(entries, found, notes, works=works)
            self._renew_pages(entries, registered, works=works)
            for name in names:
                self.move_aliases(name)
            return registered

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
                tracking_uri=self.tracking_uri,
                experiment_id=self._experiment_id,
                models=lambda conditions: list(self._holdings.models(conditions, complete=False)),
                lowest=self._holdings.lowest,
            )
            return tuple(
                subnet or register_one(entry, run, shelf)
                for subnet, entry in zip(found, entries, strict=True)
            )

    def log_work(self, work: WorkNotes) -> None:
        """Write the run of some finished work, once.

        Raises:
            RegistryError: If the registry refuses.
        """
        with self._mlflow.explained(f"log {work.name}"), self._mlflow.alone():
            end_abandoned_runs(self._mlflow.client, self._holdings.experiment_ids())
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

    def _renew_pages(
        self,
        entries: Sequence[Entry],
        registered: Sequence[RegisteredSubnet],
        *,
        works: Mapping[str, str],
    ) -> None:
        """Write the pages of versions that an earlier version of this package registered."""
        models = {
            (item.record.model_name, item.version): model
            for name in {entry.record.model_name for entry in entries}
            for model in self._holdings.models([of_model(name)])
            if MODEL_VERSIONS_TAG not in model.tags or NOTE_TAG not in model.tags
            for item in [read_model(model)]
        }
        for entry, subnet in zip(entries, registered, strict=True):
            model = models.get((subnet.record.model_name, subnet.version))
            if model is not None:
                links = Links(model.experiment_id, run_id=model.source_run_id or "", works=works)
                renew_page(entry, subnet.version, model, links, self._mlflow.client)

    def move_aliases(self, model_name: str) -> None:
        """Let the alias of every budget name what `best` answers for that budget.

        Called after each registration: what came may be better than what was picked for a budget
        before, and what was picked may be gone. Versions are written whole before, so what a kill
        leaves out here the next registration mends.

        Args:
            model_name: Name of a registered model of ours.

        Raises:
            RegistryError: If the registry refuses.
        """
        with self._mlflow.explained(f"move the aliases of {model_name}"):
            versions = self._holdings.alive([of_model(model_name)])
            client = self._mlflow.client
            aliases: dict[str, str] = dict(client.get_registered_model(model_name).aliases)
            for alias, target in alias_targets(versions).items():
                if target is None:
                    if alias in aliases:
                        client.delete_registered_model_alias(model_name, alias)
                elif str(aliases.get(alias)) != str(target.version):
                    client.set_registered_model_alias(model_name, alias, str(target.version))

    # ---- experiment and models ---------------------------------------------------------------

    @cached_property
    def _experiment_id(self) -> str:
        """Find or create the experiment of registrations."""
        client = self._mlflow.client
        experiment = self._made(
            lambda: client.get_experiment_by_name(self._experiment),
            lambda: client.create_experiment(
                self._experiment, artifact_location=self._artifacts, tags=EXPERIMENT_TAGS
            ),
        )
        assert experiment is not None
        for key, value in EXPERIMENT_TAGS.items():
            if key not in experiment.tags or (key == OWNER_TAG and experiment.tags[key] != value):
                client.set_experiment_tag(experiment.experiment_id, key, value)
        return str(experiment.experiment_id)

    def _is_ours(self, name: str) -> bool:
        """Whether a registered model exists and is ours; False when it does not exist.

        Raises:
            RegistryError: If it is somebody else's.
        """
        with self._mlflow.explained(f"look up the registered model {name}"):
            found = self._mlflow.client.search_registered_models(f"name='{name}'")
        if not found:
            return False
        if found[0].tags.get(OWNER_TAG) != OWNER:
            raise RegistryError(
                f"the registered model {name!r} on {self._mlflow.where} was not made by this "
                f"pipeline (it has no tag {OWNER_TAG}={OWNER}), so nothing is added to it. Rename "
                "it, or choose another registry.model_prefix in params.yaml."
            )
        return True

    def _ensure_model(self, name: str) -> None:
        with self._mlflow.explained(f"create the registered model {name}"):
            self._made(
                lambda: self._is_ours(name),
                lambda: self._mlflow.client.create_registered_model(
                    name,
                    tags={OWNER_TAG: OWNER},
                    description="Subnets of one once-for-all network for a device, one a version.",
                ),
            )

    @staticmethod
    def _made(look: Callable[[], Found], make: Callable[[], object]) -> Found:
        """Return what is found, made where it is not there; another process may be faster."""
        found = look()
        if found:
            return found
        try:
            make()
        except Exception:
            found = look()
            if not found:
                raise
            return found
        return look()
