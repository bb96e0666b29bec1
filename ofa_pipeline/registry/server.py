"""Where the registry is, and whether it answers: found out in seconds, before hours of work."""

import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from ofa_pipeline.errors import RegistryError

URI_VARIABLE = "MLFLOW_TRACKING_URI"
ARTIFACT_ROOT_VARIABLE = "MLFLOW_DEFAULT_ARTIFACT_ROOT"
CHECK_TIMEOUT_S = 5.0
DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def default_tracking_uri(workspace: Path) -> str:
    """Return the SQLite file of a workspace."""
    return f"sqlite:///{workspace.resolve() / 'mlflow.db'}"


def tracking_uri(workspace: Path) -> str:
    """Return ``MLFLOW_TRACKING_URI``, or the SQLite file of the workspace where it is not set."""
    return os.environ.get(URI_VARIABLE, "").strip() or default_tracking_uri(workspace)


def artifact_root(uri: str, workspace: Path) -> str | None:
    """Return where new experiments keep their files; None where the server decides.

    A database has no say in it: then it is ``MLFLOW_DEFAULT_ARTIFACT_ROOT``, or the workspace.
    """
    if not is_database(uri):
        return None
    given = os.environ.get(ARTIFACT_ROOT_VARIABLE, "").strip()
    return given or (workspace.resolve() / "mlruns").as_uri()


def is_database(uri: str) -> bool:
    """Whether MLflow opens the database itself, without a server between."""
    return urlsplit(uri).scheme.partition("+")[0] in {"sqlite", *DEFAULT_PORTS}


def may_hold_anything(uri: str) -> bool:
    """Whether a registry can hold something: a SQLite file that is not there cannot.

    Looking something up should not make a database, which takes seconds, in any folder.
    """
    return urlsplit(uri).scheme != "sqlite" or sqlite_path(uri).exists()


def sqlite_path(uri: str) -> Path:
    """Return the file of a SQLite URI."""
    return Path(urlsplit(uri).path.removeprefix("/"))


def quiet_mlflow() -> None:
    """Set MLflow's switches before it is imported; what the user has set stays.

    No telemetry, no log lines about migrations, and few retries: its defaults wait for minutes
    when a server is gone.
    """
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
        "GIT_PYTHON_REFRESH": "quiet",
    }.items():
        os.environ.setdefault(name, value)


@contextmanager
def ambient_tracking_uri(uri: str) -> Iterator[None]:
    """Make a tracking URI MLflow's global one for a while.

    A store in a database looks up ``models:/m-...`` there, whatever URI its client was given.
    """
    import mlflow

    variable = os.environ.get(URI_VARIABLE)
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None  # type: ignore[no-untyped-call]
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type] # None unsets it
        if variable is None:
            os.environ.pop(URI_VARIABLE, None)
        else:
            os.environ[URI_VARIABLE] = variable


def check_reachable(uri: str, *, timeout_s: float = CHECK_TIMEOUT_S) -> None:
    """Check that somebody answers at a tracking URI, without MLflow's long retries.

    Args:
        uri: A server, a database, or a SQLite file.
        timeout_s: Longest wait for an answer.

    Raises:
        RegistryError: If nobody does.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    try:
        if scheme in {"http", "https"}:
            _ask_health(uri, timeout_s=timeout_s)
        elif scheme in DEFAULT_PORTS and parts.hostname:
            port = parts.port or DEFAULT_PORTS[scheme]
            socket.create_connection((parts.hostname, port), timeout=timeout_s).close()
        elif scheme == "sqlite":
            _check_sqlite(sqlite_path(uri))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise RegistryError(
            f"the MLflow registry must be reachable at {without_password(uri)}, but: {reason}. "
            f"Start the server, or correct {URI_VARIABLE} (unset, the registry is a SQLite file "
            "in the workspace)."
        ) from error


def _ask_health(uri: str, *, timeout_s: float) -> None:
    request = urllib.request.Request(uri.rstrip("/") + "/health")  # noqa: S310 - http(s) only
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310
            response.read(1)
    except urllib.error.HTTPError as error:
        # A proxy that does not pass /health on, or wants a password, answers all the same.
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise


def _check_sqlite(path: Path) -> None:
    if path.exists():
        with path.open("r+b") as file:
            header = file.read(16)
        if header and header != b"SQLite format 3\x00":
            raise ValueError(f"{path} is not a SQLite file")
        return
    existing = path.parent
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK):
        raise PermissionError(f"{existing} is not writable")


def without_password(uri: str) -> str:
    """Return a URI that may be shown."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return uri.replace(f":{parts.password}@", ":***@")
