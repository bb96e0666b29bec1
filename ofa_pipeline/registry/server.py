"""Where the registry is, and whether it answers: found out in seconds, before hours of work."""

import base64
import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.registry.addresses import (
    DEFAULT_PORTS,
    URI_VARIABLE,
    default_address,
    is_database,
    is_server,
    is_sqlite,
    resolve_address,
    split_server,
    sqlite_path,
)
from ofa_pipeline.registry.causes import explain
from ofa_pipeline.telemetry import MLFLOW_SWITCHES, keep_quiet

ARTIFACT_ROOT_VARIABLE = "MLFLOW_DEFAULT_ARTIFACT_ROOT"
CHECK_TIMEOUT_S = 5.0


def tracking_uri(workspace: Path) -> str:
    """Return the address of a workspace's registry: the same one from every folder and process.

    It is ``MLFLOW_TRACKING_URI``, with a relative SQLite path meant from the workspace, or the
    SQLite file of the workspace where that is not set.

    Raises:
        RegistryError: If the variable holds no address; says the right spelling.
    """
    return resolve_address(os.environ.get(URI_VARIABLE, ""), workspace)


def is_own(uri: str, workspace: Path) -> bool:
    """Whether an address is of the workspace's own SQLite file."""
    return is_sqlite(uri) and sqlite_path(uri) == sqlite_path(default_address(workspace))


def artifact_root(uri: str, workspace: Path) -> str | None:
    """Return where new experiments keep their files; None where the server decides.

    A database has no say in it: then it is ``MLFLOW_DEFAULT_ARTIFACT_ROOT``, or the workspace.
    """
    if not is_database(uri):
        return None
    given = os.environ.get(ARTIFACT_ROOT_VARIABLE, "").strip()
    return given or (workspace.resolve() / "mlruns").as_uri()


def may_hold_anything(uri: str) -> bool:
    """Whether a registry can hold something: a SQLite file that is not there cannot.

    Looking something up should not make a database, which takes seconds, in any folder.
    """
    return not is_sqlite(uri) or sqlite_path(uri).exists()


def quiet_mlflow() -> None:
    """Set MLflow's switches before it is imported; what the user has set stays.

    No telemetry, no log lines about migrations, and few retries: its defaults wait for minutes
    when a server is gone.
    """
    own = {
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    }
    keep_quiet(os.environ, {**MLFLOW_SWITCHES, **own})


@contextmanager
def ambient_tracking_uri(uri: str) -> Iterator[None]:
    """Make a tracking URI MLflow's global one for a while.

    A store in a database looks up ``models:/m-...`` there, whatever URI its client was given.
    """
    quiet_mlflow()  # look-ups need no client, which would have seen to it
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
    """Check that somebody answers at an address, without MLflow's long retries.

    Args:
        uri: A server, a database, or a SQLite file.
        timeout_s: Longest wait for an answer.

    Raises:
        RegistryError: If nobody does.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    try:
        if is_server(uri):
            _ask_health(uri, timeout_s=timeout_s)
        elif is_sqlite(uri):
            _check_sqlite(sqlite_path(uri))
        elif scheme in DEFAULT_PORTS:
            if parts.hostname:
                port = parts.port or DEFAULT_PORTS[scheme]
                socket.create_connection((parts.hostname, port), timeout=timeout_s).close()
            _connect_once(uri)
    except Exception as error:  # drivers of databases raise errors of their own
        reason, advice = explain(error, uri)
        what = "server" if is_server(uri) else "registry"
        raise RegistryError(
            f"the MLflow {what} must be reachable at {mask_secrets(uri)}, but: {reason}. {advice} "
            f"Without {URI_VARIABLE} the registry is a SQLite file in the workspace."
        ) from error


def _connect_once(uri: str) -> None:
    """Connect to a database: MLflow tries for two minutes when a password is wrong."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
    engine.connect().close()


def _trusted() -> ssl.SSLContext:
    """Return what MLflow's client trusts: its variables, those of requests, or the system."""
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    names = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    given = next((path for name in names if (path := os.environ.get(name))), None)
    if given is None:
        return ssl.create_default_context()
    is_folder = Path(given).is_dir()
    return ssl.create_default_context(
        cafile=None if is_folder else given, capath=given if is_folder else None
    )


def _ask_health(uri: str, *, timeout_s: float) -> None:
    server = split_server(uri)
    request = urllib.request.Request(server.address + "/health")  # noqa: S310 - http(s) only
    if server.user or server.password:
        # urllib takes what stands before the @ for a part of the host.
        words = f"{unquote(server.user)}:{unquote(server.password)}".encode()
        request.add_header("Authorization", f"Basic {base64.b64encode(words).decode()}")
    try:
        context = _trusted() if uri.startswith("https") else None
        with urllib.request.urlopen(request, timeout=timeout_s, context=context) as response:  # noqa: S310
            response.read(1)
    except urllib.error.HTTPError as error:
        # A proxy that does not pass /health on, or wants a password, answers all the same.
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise


def _check_sqlite(path: Path) -> None:
    """Check that a file is a SQLite file that can be written, or can be made."""
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
