"""The registry on MLflow: a LoggedModel and a version of a registered model for each subnet.

Metrics of a LoggedModel can be compared in a search (tags of a version cannot), so they answer
`best`. A subnet counts as registered when its LoggedModel bears the tag `VERSION_TAG`, which is
written last; what an interrupted run left without it is removed by the next.
How many processes and machines register at once without harm is told in `registration`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.errors import RegistryError, suggest
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.registry.addresses import is_sqlite, sqlite_path
from ofa_pipeline.registry.causes import explain
from ofa_pipeline.registry.choosing import (
    HomeDataset,
    alias_targets,
    check_bounds,
    comparable,
    most_accurate,
    unknown_dataset,
    visible,
)
from ofa_pipeline.registry.database import ensure_database, hold_database, make_in_background
from ofa_pipeline.registry.fields import (
    OWNER,
    OWNER_TAG,
    VERSION_TAG,
    dataset_filters,
    latency_metric,
    of_bundle,
    of_model,
    read_model,
)
from ofa_pipeline.registry.protocol import Entry, RunNotes, infeasible
from ofa_pipeline.registry.record import RegisteredSubnet, SubnetRecord
from ofa_pipeline.registry.registration import Shelf, end_abandoned_runs, open_run, register_one
from ofa_pipeline.registry.server import (
    ambient_tracking_uri,
    check_reachable,
    may_hold_anything,
    quiet_mlflow,
)
from ofa_pipeline.registry.verify import check_files

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

Found = TypeVar("Found")

PAGE = 200


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
            experiment: That registrations are logged in; look-ups see all experiments of ours.
            artifacts: URI where a new experiment keeps its files; None lets the server decide.
            home: Returns the dataset of the workspace that asks, None outside of one; called by
                look-ups that name no dataset.
        """
        self.tracking_uri = tracking_uri
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
        with self._explained("look up the experiment"):
            experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is not None and experiment.lifecycle_stage != "active":
            raise RegistryError(
                f"the experiment {self._experiment!r} on {self._where} was deleted. Restore it "
                f"(mlflow experiments restore -x {experiment.experiment_id}) or choose another "
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
        seen = self._visible(device, dataset=dataset, home=home)
        if not seen:
            known = self._look_up(device)
            if not known:
                raise self._nothing_on(device)
            raise unknown_dataset(
                known, dataset=dataset, home=home, device=device, where=self._where
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
        kept = self._visible(device, dataset=dataset, home=home)
        return tuple(
            sorted(
                kept, key=lambda item: (item.record.device, item.record.latency_ms, item.version)
            )
        )

    def find(self, *, model_name: str, bundle_digest: str) -> RegisteredSubnet | None:
        """Return the subnet with this content, or None; its files must be there, too."""
        return self._lowest(self._models(of_bundle(model_name, bundle_digest)))

    def _lowest(self, models: Iterable["LoggedModel"]) -> RegisteredSubnet | None:
        """Return the lowest version among complete LoggedModels whose version and files exist."""
        whole = [
            subnet
            for model in models
            if self._version_exists(subnet := read_model(model)) and self._has_files(model)
        ]
        return min(whole, key=lambda subnet: subnet.version, default=None)

    def download(self, subnet: RegisteredSubnet, folder: Path) -> Path:
        """Bring the bundle of a registered subnet into a folder and return where it lies.

        Raises:
            RegistryError: If its files are gone, or are not those that were registered.
        """
        from mlflow.artifacts import download_artifacts

        folder.mkdir(parents=True, exist_ok=True)
        ambient = ambient_tracking_uri(self.tracking_uri)
        with self._explained(f"download {subnet.model_uri}"), ambient:
            path = download_artifacts(
                artifact_uri=f"{subnet.model_uri}/artifacts", dst_path=str(folder)
            )
        bundles = [item.parent for item in Path(path).glob(f"*/{Layout.SUBNET}")]
        if len(bundles) != 1:
            raise RegistryError(
                f"{subnet.model_uri} on {self._where} must hold one bundle, found {len(bundles)}. "
                "Run the stage register again: it registers what has lost its files."
            )
        check_files(bundles[0], subnet, where=self._where)
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
        with self._explained("register subnets"), self._alone():
            end_abandoned_runs(self._client, self._experiment_ids())
            found = [
                self.find(
                    model_name=entry.record.model_name, bundle_digest=entry.record.bundle_digest
                )
                for entry in entries
            ]
            names = sorted({entry.record.model_name for entry in entries})
            registered = tuple(subnet for subnet in found if subnet is not None)
            if len(registered) < len(entries):
                for name in names:
                    self._ensure_model(name)
                registered = self._register_missing(entries, found, notes)
            for name in names:
                self.move_aliases(name)
            return registered

    def _register_missing(
        self,
        entries: Sequence[Entry],
        found: Sequence[RegisteredSubnet | None],
        notes: RunNotes,
    ) -> tuple[RegisteredSubnet, ...]:
        """Register what was not found, in one run of the registry."""
        with open_run(self._client, self._experiment_id, notes) as run:
            shelf = Shelf(
                client=self._client,
                tracking_uri=self.tracking_uri,
                experiment_id=self._experiment_id,
                models=lambda conditions: list(self._models(conditions, complete=False)),
                lowest=self._lowest,
            )
            return tuple(
                subnet or register_one(entry, run, shelf)
                for subnet, entry in zip(found, entries, strict=True)
            )

    def move_aliases(self, model_name: str) -> None:
        """Let the alias of every budget name what `best` answers for that budget.

        Called after each registration: what came may be better than what was picked for a budget
        before, and what was picked may be gone. Versions are written whole before, so what a kill
        leaves out here the next registration mends.

        Args:
            model_name: Of a registered model of ours.

        Raises:
            RegistryError: If the registry refuses.
        """
        with self._explained(f"move the aliases of {model_name}"):
            versions = self._alive([of_model(model_name)])
            aliases: dict[str, str] = dict(self._client.get_registered_model(model_name).aliases)
            for alias, target in alias_targets(versions).items():
                if target is None:
                    if alias in aliases:
                        self._client.delete_registered_model_alias(model_name, alias)
                elif str(aliases.get(alias)) != str(target.version):
                    self._client.set_registered_model_alias(model_name, alias, str(target.version))

    def _alone(self) -> AbstractContextManager[None]:
        """Let the processes of one machine take turns at a SQLite file: it knows one writer."""
        if not is_sqlite(self.tracking_uri):
            return nullcontext()
        path = sqlite_path(self.tracking_uri)
        ensure_database(path)
        return hold_database(path)

    # ---- what lies where ---------------------------------------------------------------------

    @cached_property
    def _client(self) -> "MlflowClient":
        quiet_mlflow()
        if is_sqlite(self.tracking_uri):
            ensure_database(sqlite_path(self.tracking_uri))
        else:
            check_reachable(self.tracking_uri)  # MLflow tries for minutes before it says no
        with self._explained("open the registry"):
            from mlflow import MlflowClient

            return MlflowClient(self.tracking_uri, registry_uri=self.tracking_uri)

    @property
    def _where(self) -> str:
        return mask_secrets(self.tracking_uri)

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn what MLflow raises into our error, with the place and a way out."""
        try:
            yield
        except (RegistryError, KeyboardInterrupt):
            raise
        except Exception as error:  # the registry adapter is a boundary: MLflow raises many kinds
            reason, advice = explain(error, self.tracking_uri)
            raise RegistryError(
                f"could not {doing} on {self._where}: {reason}. {advice}"
            ) from error

    @cached_property
    def _experiment_id(self) -> str:
        """Find or create the experiment of registrations."""
        client = self._client
        experiment = self._made(
            lambda: client.get_experiment_by_name(self._experiment),
            lambda: client.create_experiment(
                self._experiment, artifact_location=self._artifacts, tags={OWNER_TAG: OWNER}
            ),
        )
        assert experiment is not None
        if experiment.tags.get(OWNER_TAG) != OWNER:
            client.set_experiment_tag(experiment.experiment_id, OWNER_TAG, OWNER)
        return str(experiment.experiment_id)

    def _is_ours(self, name: str) -> bool:
        """Whether a registered model exists and is ours; False when it does not exist.

        Raises:
            RegistryError: If it is somebody else's.
        """
        with self._explained(f"look up the registered model {name}"):
            found = self._client.search_registered_models(f"name='{name}'")
        if not found:
            return False
        if found[0].tags.get(OWNER_TAG) != OWNER:
            raise RegistryError(
                f"the registered model {name!r} on {self._where} was not made by this pipeline "
                f"(it has no tag {OWNER_TAG}={OWNER}), so nothing is added to it. Rename it, or "
                "choose another registry.model_prefix in params.yaml."
            )
        return True

    def _ensure_model(self, name: str) -> None:
        with self._explained(f"create the registered model {name}"):
            self._made(
                lambda: self._is_ours(name),
                lambda: self._client.create_registered_model(
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

    def _experiment_ids(self) -> list[str]:
        found = self._client.search_experiments(filter_string=f"tags.`{OWNER_TAG}` = '{OWNER}'")
        return [experiment.experiment_id for experiment in found]

    def _models(
        self,
        conditions: Sequence[str],
        *,
        complete: bool = True,
    ) -> Iterator["LoggedModel"]:
        """Yield LoggedModels of ours, the newest first."""
        if not may_hold_anything(self.tracking_uri):
            return
        with self._explained("search"):
            experiments = self._experiment_ids()
            if not experiments:
                return
            every = [f"tags.`{OWNER_TAG}` = '{OWNER}'", *conditions]
            if complete:
                every.append(f"tags.`{VERSION_TAG}` != ''")
            token: str | None = None
            while True:
                page = self._client.search_logged_models(
                    experiments,
                    filter_string=" AND ".join(every),
                    max_results=PAGE,
                    order_by=[{"field_name": "creation_timestamp", "ascending": False}],
                    page_token=token,
                )
                yield from page
                token = page.token
                if not token:
                    return

    def _visible(
        self, device: str | None, *, dataset: str | None, home: HomeDataset | None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return what a look-up sees, the newest first; MLflow is asked for little more."""
        filters = dataset_filters(dataset=dataset, home=home)
        found = {
            item.model_uri: item
            for condition in filters
            for item in self._look_up(device, *([condition] if condition else []))
        }
        return visible(found.values(), dataset=dataset, home=home)

    def _look_up(self, device: str | None, *conditions: str) -> tuple[RegisteredSubnet, ...]:
        """Return every registered subnet that was measured on a device, the newest first."""
        on_device = [] if device is None else [f"metrics.`{latency_metric(device)}` > 0"]
        return self._alive([*on_device, *conditions])

    def _alive(self, conditions: Sequence[str]) -> tuple[RegisteredSubnet, ...]:
        """Return what is registered and meets conditions of MLflow, the newest first."""
        found = [read_model(model) for model in self._models(conditions)]
        alive = {
            (name, version)
            for name in {subnet.record.model_name for subnet in found}
            for version in self._versions(name)
        }
        return tuple(item for item in found if (item.record.model_name, item.version) in alive)

    def _nothing_on(self, device: str | None) -> RegistryError:
        everything = self._look_up(None)
        if not everything or device is None:
            return RegistryError(
                f"no subnet{f' measured on {device!r}' if device else ''} is registered on "
                f"{self._where}. The registry is empty: run ofa-pipeline run."
            )
        known = sorted({name for item in everything for name in item.record.latency})
        return RegistryError(
            f"no subnet measured on {device!r} is registered on {self._where}."
            f"{suggest(device, known)}"
        )

    def _versions(self, model_name: str) -> list[int]:
        versions: list[int] = []
        token: str | None = None
        with self._explained(f"list the versions of {model_name}"):
            while True:
                page = self._client.search_model_versions(
                    f"name='{model_name}'", max_results=PAGE, page_token=token
                )
                versions += [int(version.version) for version in page]
                token = page.token
                if not token:
                    return versions

    def _version_exists(self, subnet: RegisteredSubnet) -> bool:
        """Whether the version is still there; people delete versions in MLflow's UI."""
        from mlflow.exceptions import MlflowException

        with self._explained(f"look up {subnet.model_uri}"):
            try:
                self._client.get_model_version(subnet.record.model_name, str(subnet.version))
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return False
                raise
            return True

    def _has_files(self, model: "LoggedModel") -> bool:
        with self._explained(f"look for the files of {model.model_id}"):
            return bool(self._client.list_logged_model_artifacts(model.model_id))
