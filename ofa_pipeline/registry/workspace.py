"""The registry of a workspace."""

from pathlib import Path

from ofa_pipeline.registry.mlflow_registry import MlflowRegistry
from ofa_pipeline.registry.server import artifact_root, tracking_uri


def open_registry(workspace: Path, *, experiment: str = "once-for-all") -> MlflowRegistry:
    """Return the registry that a workspace uses; nothing is opened yet.

    Args:
        workspace: Holds ``mlflow.db`` and ``mlruns`` unless ``MLFLOW_TRACKING_URI`` names another
            registry.
        experiment: That registrations are logged in.
    """
    uri = tracking_uri(workspace)
    return MlflowRegistry(uri, experiment=experiment, artifacts=artifact_root(uri, workspace))
