"""What lies in a registry: LoggedModels of ours, and the versions that they belong to.

Metrics of a LoggedModel can be compared in a search (tags of a version cannot), so they answer
`best`. A subnet counts as registered when its LoggedModel bears the tag `VERSION_TAG`, which is
written last, and its version is still there: people delete versions in MLflow's UI.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ofa_pipeline.errors import RegistryError, suggest
from ofa_pipeline.registry.choosing import HomeDataset, visible
from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.fields import (
    OWNER,
    OWNER_TAG,
    VERSION_TAG,
    dataset_filters,
    latency_metric,
    read_model,
)
from ofa_pipeline.registry.record import RegisteredSubnet
from ofa_pipeline.registry.server import may_hold_anything

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

PAGE = 200


class Holdings:
    """What is registered in an MLflow, in all experiments of ours."""

    def __init__(self, connection: Connection) -> None:
        """Look nothing up yet."""
        self._mlflow = connection

    def visible(
        self, device: str | None, *, dataset: str | None, home: HomeDataset | None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return what a look-up sees, the newest first; MLflow is asked for little more."""
        filters = dataset_filters(dataset=dataset, home=home)
        found = {
            item.model_uri: item
            for condition in filters
            for item in self.on_device(device, *([condition] if condition else []))
        }
        return visible(found.values(), dataset=dataset, home=home)

    def on_device(self, device: str | None, *conditions: str) -> tuple[RegisteredSubnet, ...]:
        """Return every registered subnet that was measured on a device, the newest first."""
        on_device = [] if device is None else [f"metrics.`{latency_metric(device)}` > 0"]
        return self.alive([*on_device, *conditions])

    def alive(self, conditions: Sequence[str]) -> tuple[RegisteredSubnet, ...]:
        """Return what is registered and meets conditions of MLflow, the newest first."""
        found = [read_model(model) for model in self.models(conditions)]
        alive = {
            (name, version)
            for name in {subnet.record.model_name for subnet in found}
            for version in self._versions(name)
        }
        return tuple(item for item in found if (item.record.model_name, item.version) in alive)

    def nothing_on(self, device: str | None) -> RegistryError:
        """Return the error for a device on which nothing registered was measured; None: for any."""
        everything = self.on_device(None)
        if not everything or device is None:
            return RegistryError(
                f"no subnet{f' measured on {device!r}' if device else ''} is registered on "
                f"{self._mlflow.where}. The registry is empty: run ofa-pipeline run."
            )
        known = sorted({name for item in everything for name in item.record.latency})
        return RegistryError(
            f"no subnet measured on {device!r} is registered on {self._mlflow.where}."
            f"{suggest(device, known)}"
        )

    def lowest(self, models: Iterable["LoggedModel"]) -> RegisteredSubnet | None:
        """Return the lowest version among complete LoggedModels whose version and files exist."""
        whole = [
            subnet
            for model in models
            if self._version_exists(subnet := read_model(model)) and self._has_files(model)
        ]
        return min(whole, key=lambda subnet: subnet.version, default=None)

    def models(
        self, conditions: Sequence[str], *, complete: bool = True
    ) -> Iterator["LoggedModel"]:
        """Yield LoggedModels of ours, the newest first.

        Args:
            conditions: Filters of MLflow that all must hold.
            complete: Only those whose registration is complete.
        """
        if not may_hold_anything(self._mlflow.tracking_uri):
            return
        with self._mlflow.explained("search"):
            experiments = self.experiment_ids()
            if not experiments:
                return
            every = [f"tags.`{OWNER_TAG}` = '{OWNER}'", *conditions]
            if complete:
                every.append(f"tags.`{VERSION_TAG}` != ''")
            token: str | None = None
            while True:
                page = self._mlflow.client.search_logged_models(
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

    def experiment_ids(self) -> list[str]:
        """Return the experiments of ours."""
        found = self._mlflow.client.search_experiments(
            filter_string=f"tags.`{OWNER_TAG}` = '{OWNER}'"
        )
        return [experiment.experiment_id for experiment in found]

    def _versions(self, model_name: str) -> list[int]:
        versions: list[int] = []
        token: str | None = None
        with self._mlflow.explained(f"list the versions of {model_name}"):
            while True:
                page = self._mlflow.client.search_model_versions(
                    f"name='{model_name}'", max_results=PAGE, page_token=token
                )
                versions += [int(version.version) for version in page]
                token = page.token
                if not token:
                    return versions

    def _version_exists(self, subnet: RegisteredSubnet) -> bool:
        """Whether the version is still there; people delete versions in MLflow's UI."""
        from mlflow.exceptions import MlflowException

        with self._mlflow.explained(f"look up {subnet.model_uri}"):
            try:
                self._mlflow.client.get_model_version(subnet.record.model_name, str(subnet.version))
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return False
                raise
            return True

    def _has_files(self, model: "LoggedModel") -> bool:
        with self._mlflow.explained(f"look for the files of {model.model_id}"):
            return bool(self._mlflow.client.list_logged_model_artifacts(model.model_id))
