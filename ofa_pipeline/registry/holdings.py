"""What lies in a registry: LoggedModels of ours, and the versions that they belong to.

A subnet counts as registered when its LoggedModel bears the tag `VERSION_TAG`, which is
written last, and its version is still there: people delete versions in MLflow's UI.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.fields import (
    OWNER,
    OWNER_TAG,
    VERSION_TAG,
    read_model,
)
from ofa_pipeline.registry.parts import Part
from ofa_pipeline.registry.record import RegisteredSubnet
from ofa_pipeline.registry.server import may_hold_anything

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

PAGE = 200
VERSIONS_PAGE = 1000
EXPERIMENTS_HOLD_S = 1.0
_FEW = 3
_FROM_MODEL = "models:/"
"""What the source of a version begins with that was made from a LoggedModel."""


class Holdings:
    """What is registered in an MLflow, in all experiments of ours."""

    def __init__(self, connection: Connection) -> None:
        """Look nothing up yet."""
        self._mlflow = connection
        self._experiments: list[str] = []
        self._asked_at = -float("inf")

    def lowest(self, models: Iterable["LoggedModel"]) -> RegisteredSubnet | None:
        """Return the lowest version among complete LoggedModels whose version and files exist."""
        whole = [
            subnet
            for model in models
            if self.version_exists(subnet := read_model(model)) and self.has_files(model.model_id)
        ]
        return min(whole, key=lambda subnet: subnet.version, default=None)

    def models(
        self, conditions: Sequence[str], *, complete: bool = True, page_size: int = PAGE
    ) -> Iterator["LoggedModel"]:
        """Yield LoggedModels of ours, the newest first.

        Args:
            conditions: Filters of MLflow that all must hold.
            complete: Only those whose registration is complete.
            page_size: LoggedModels a request; a server takes milliseconds for each.
        """
        if not may_hold_anything(self._mlflow.tracking_uri):
            return
        with self._mlflow.explained("search"):
            # Who has just written asks for what others have written meanwhile, wherever.
            experiments = self.experiment_ids(again=not complete)
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
                    max_results=page_size,
                    order_by=[{"field_name": "creation_timestamp", "ascending": False}],
                    page_token=token,
                )
                yield from page
                token = page.token
                if not token:
                    return

    def experiment_ids(self, *, again: bool = False) -> list[str]:
        """Return the experiments of ours; unless `again`, they are asked for once a second."""
        is_old = time.monotonic() - self._asked_at > EXPERIMENTS_HOLD_S
        if again or is_old or not self._experiments:
            found = self._mlflow.client.search_experiments(
                filter_string=f"tags.`{OWNER_TAG}` = '{OWNER}'"
            )
            self._experiments = [experiment.experiment_id for experiment in found]
            self._asked_at = time.monotonic()
        return self._experiments

    def gone(self, part: Part) -> str:
        """Return what has become of something registered that is not there now; empty: nothing.

        People delete versions and rename registered models in MLflow's UI: a subnet counts under
        the name that it was registered by. Only what a failed look-up is about is looked for.
        """
        if not may_hold_anything(self._mlflow.tracking_uri):
            return ""
        filters = part.filters  # None for names that none of ours has
        found = () if filters is None else self.models(filters, page_size=_FEW)
        for model in islice(found, _FEW):
            if not self.version_exists(subnet := read_model(model)):
                return (
                    f"{subnet.model_uri} was registered, but is gone: somebody deleted the version "
                    "in MLflow, or renamed its registered model. Rename it back, or register it "
                    f"again: {_again(subnet)}"
                )
        return self._renamed(part)

    def _renamed(self, part: Part) -> str:
        """Return what a version was registered as, where somebody has renamed its model."""
        from mlflow.exceptions import MlflowException

        if part.model_name is None or part.version is None:
            return ""
        try:
            version = self._mlflow.client.get_model_version(part.model_name, part.version)
            source = version.source or ""
            if not source.startswith(_FROM_MODEL):
                return ""
            model = self._mlflow.client.get_logged_model(source.removeprefix(_FROM_MODEL))
        except MlflowException:
            return ""
        if model.tags.get(OWNER_TAG) != OWNER or VERSION_TAG not in model.tags:
            return ""
        subnet = read_model(model)
        return (
            f"It was registered as {subnet.model_uri}, and counts under that name alone: somebody "
            "renamed the registered model in MLflow. Rename it back, or register it again: "
            f"{_again(subnet)}"
        )

    def versions(self, model_name: str) -> list[int]:
        """Return the numbers of the versions of a registered model."""
        versions: list[int] = []
        token: str | None = None
        with self._mlflow.explained(f"list the versions of {model_name}"):
            while True:
                page = self._mlflow.client.search_model_versions(
                    f"name='{model_name}'", max_results=VERSIONS_PAGE, page_token=token
                )
                versions += [int(version.version) for version in page]
                token = page.token
                if not token:
                    return versions

    def version_exists(self, subnet: RegisteredSubnet) -> bool:
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

    def has_files(self, model_id: str) -> bool:
        """Tell whether a LoggedModel has files."""
        with self._mlflow.explained(f"look for the files of {model_id}"):
            return bool(self._mlflow.client.list_logged_model_artifacts(model_id))


def _again(subnet: RegisteredSubnet) -> str:
    return f"ofa-pipeline stage register --item {subnet.record.device}, in its workspace."
