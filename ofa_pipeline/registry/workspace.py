"""The registry of a workspace."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry.addresses import sqlite_path
from ofa_pipeline.registry.causes import advice_for_file
from ofa_pipeline.registry.fields import OWNER, OWNER_TAG
from ofa_pipeline.registry.home import home_dataset
from ofa_pipeline.registry.mlflow_registry import MlflowRegistry
from ofa_pipeline.registry.server import artifact_root, is_own, tracking_uri

FOLDER = "mlruns"
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Table and column of every path that MLflow keeps; absolute, whatever it is given."""
WRITTEN = (("logged_models", "artifact_location"), ("runs", "artifact_uri"))
"""Where files are written."""
_LOOKED_AT = 50
"""Of each: runs without files have no folder."""


def open_registry(workspace: Path, *, experiment: str = "once-for-all") -> MlflowRegistry:
    """Return the registry that a workspace uses; it is not opened yet.

    Args:
        workspace: Holds ``mlflow.db`` and ``mlruns`` unless ``MLFLOW_TRACKING_URI`` names another
            registry.
        experiment: Where registrations are logged.

    Raises:
        RegistryError: If the workspace was moved and its registry cannot be brought along.
    """
    uri = tracking_uri(workspace)
    root = artifact_root(uri, workspace)
    if is_own(uri, workspace) and root is not None:
        follow_workspace(sqlite_path(uri), root)
    return MlflowRegistry(
        uri, experiment=experiment, artifacts=root, home=lambda: home_dataset(workspace)
    )


def follow_workspace(database: Path, root: str) -> None:
    """Correct the paths in a workspace's registry after the workspace was moved or copied.

    MLflow keeps absolute paths. Without this, a moved registry finds its entries but not their
    files, and a copied one writes into the original. Paths of other workspaces that register here
    stay as they are.

    Args:
        database: The SQLite file; nothing happens when it is not there.
        root: URI of the folder that holds the files now.

    Raises:
        RegistryError: If the file cannot be read or written.
    """
    if not database.exists():
        return
    try:
        with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
            if not _has_tables(connection):
                return
            for old in _old_roots(connection, root):
                for table, column in LOCATIONS:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (root, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
    except sqlite3.Error as error:
        raise RegistryError(
            f"{database} must be the registry of this workspace, but: {error}. "
            f"{advice_for_file(error)}"
        ) from error


def _has_tables(connection: sqlite3.Connection) -> bool:
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    return {table for table, _ in LOCATIONS} | {"experiment_tags"} <= names


def _old_roots(connection: sqlite3.Connection, root: str) -> list[str]:
    """Return where our experiments kept their files, when it was a workspace at another place."""
    rows = connection.execute(
        "SELECT DISTINCT artifact_location FROM experiments JOIN experiment_tags "
        "USING (experiment_id) WHERE key = ? AND value = ? AND artifact_location != ?",
        (OWNER_TAG, OWNER, root),
    )
    return [
        location
        for (location,) in rows
        if location.startswith("file://")
        and location.endswith(f"/{FOLDER}")
        and _has_moved(connection, location, root)
    ]


def _has_moved(connection: sqlite3.Connection, old: str, root: str) -> bool:
    """Whether files of an experiment lie in this workspace now; True where there are none to lose.

    Those of another workspace, which registers here by its address, lie where that one is.
    """
    if not root.startswith("file://"):
        return False
    if not _path_of(old).exists():
        return True
    return any(
        _path_of(f"{root}{location.removeprefix(old)}").exists()
        for table, column in WRITTEN
        for (location,) in connection.execute(
            f"SELECT {column} FROM {table} WHERE substr({column}, 1, ?) = ? "  # noqa: S608
            "ORDER BY rowid DESC LIMIT ?",
            (len(old) + 1, f"{old}/", _LOOKED_AT),
        )
    )


def _path_of(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))
