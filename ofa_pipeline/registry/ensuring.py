"""The experiment and the registered models of a registry: found, or made."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.fields import EXPERIMENT_TAGS, OWNER, OWNER_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

Found = TypeVar("Found")


def ensure_experiment(client: "MlflowClient", name: str, *, artifacts: str | None) -> str:
    """Find or create the experiment of registrations and return its id.

    Args:
        client: Of MLflow.
        name: Of the experiment.
        artifacts: URI where a new one keeps its files; None lets the server decide.
    """
    experiment = _made(
        lambda: client.get_experiment_by_name(name),
        lambda: client.create_experiment(name, artifact_location=artifacts, tags=EXPERIMENT_TAGS),
    )
    assert experiment is not None
    for key, value in EXPERIMENT_TAGS.items():
        if key not in experiment.tags or (key == OWNER_TAG and experiment.tags[key] != value):
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)


def is_ours(connection: Connection, name: str) -> bool:
    """Whether a registered model exists and is ours; False when it does not exist.

    Raises:
        RegistryError: If it is somebody else's.
    """
    ours = f"name='{name}' AND tags.`{OWNER_TAG}` = '{OWNER}'"
    with connection.explained(f"look up the registered model {name}"):
        if _has_model(connection, ours):
            return True
        if not _has_model(connection, f"name='{name}'"):
            return False
        # Another process may have made it in between. A model has its tags from the beginning.
        if _has_model(connection, ours):
            return True
        raise RegistryError(
            f"the registered model {name!r} on {connection.where} was not made by this pipeline "
            f"(it has no tag {OWNER_TAG}={OWNER}), so nothing is added to it. Rename it, or choose "
            "another registry.model_prefix in params.yaml."
        )


def _has_model(connection: Connection, condition: str) -> bool:
    """Whether there is a registered model, however many versions it has.

    MLflow looks through the versions of each model that it returns. So a page of none is asked for:
    that another page follows says that there is one.
    """
    page = connection.client.search_registered_models(condition, max_results=0)
    return bool(page or page.token)


def ensure_model(connection: Connection, name: str) -> None:
    """Find or create a registered model.

    Raises:
        RegistryError: If it is somebody else's, or the registry refuses.
    """
    with connection.explained(f"create the registered model {name}"):
        _made(
            lambda: is_ours(connection, name),
            lambda: connection.client.create_registered_model(
                name,
                tags={OWNER_TAG: OWNER},
                description="Subnets of one once-for-all network for a device, one a version.",
            ),
        )


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
