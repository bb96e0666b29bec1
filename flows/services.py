"""The three servers of a platform: what each is started with, and how it is watched."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.server import private_folder
from flows.webhooks import KEY_VARIABLE
from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.registry import URI_VARIABLE, default_address

WORK_POOL = "once-for-all"
"""As `prefect.yaml` names it."""
READY_TIMEOUT_S = 300.0
_PROGRAM = "from ofa_pipeline.cli import main; main()"
_STOP_TIMEOUT_S = 20.0
_POLL_S = 0.2
_LINES_OF_LOG = 10
_LINE_LENGTH = 200
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class PlatformError(OfaPipelineError):
    """A server of the platform cannot be started, or has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where the platform keeps what it is told."""

    folder: Path
    """Absolute: logs, and whatever has no other place."""
    mlflow_database: str = ""
    """Address of a database; empty for a SQLite file in the folder."""
    prefect_database: str = ""
    """The same for Prefect. Not the same database: both keep a table of their schema's version
    under one name."""
    artifacts: str = ""
    """Where MLflow keeps files, for example ``s3://bucket/mlflow``; empty for the folder."""
    webhook_key: str = ""
    """That MLflow encrypts the secrets of webhooks with; empty: one that ends with its process."""

    def __post_init__(self) -> None:
        """Refuse one database for both.

        Raises:
            PlatformError: If it is.
        """
        if self.mlflow_database and self.mlflow_database == self.prefect_database:
            raise PlatformError(
                "MLflow and Prefect must each have a database of their own, but both are given "
                f"{mask_secrets(self.mlflow_database)}. Make a second one: createdb prefect"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the servers listen."""

    prefect: int
    mlflow: int
    registry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A server: how it is started, and where it answers."""

    name: str
    words: Sequence[str]
    """Of the command; secrets are in the environment, which other users cannot see."""
    environment: Mapping[str, str]
    port: int
    health: str
    """Path that answers once it is ready."""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"


def services_of(stores: Stores, ports: Ports) -> list[Service]:
    """Return the servers in the order in which they start.

    Args:
        stores: Where they keep things.
        ports: Where they listen, on this machine only.
    """
    prefect, mlflow, registry = ports.prefect, ports.mlflow, ports.registry
    python = [sys.executable, "-P", "-m"]
    records = {
        "PREFECT_HOME": str(stores.folder / "prefect"),
        "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{prefect}/api",
    }
    if stores.prefect_database:
        records["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = _asynchronous(stores.prefect_database)
    tracking = {
        "MLFLOW_BACKEND_STORE_URI": stores.mlflow_database or default_address(stores.folder),
        "MLFLOW_ARTIFACTS_DESTINATION": stores.artifacts or (stores.folder / "files").as_uri(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Several are watched, and killed on a busy machine before they have begun.
        "MLFLOW_WORKERS": os.environ.get("MLFLOW_WORKERS", "1"),
    }
    if stores.webhook_key:
        tracking[KEY_VARIABLE] = stores.webhook_key
    return [
        Service(
            name="prefect",
            words=[*python, "flows.server", str(os.getpid()), str(prefect)],
            environment=records,
            port=prefect,
            health="/api/health",
        ),
        Service(
            name="mlflow",
            words=[*python, "mlflow", "server", "--host", "127.0.0.1", "--port", str(mlflow)],
            environment=tracking,
            port=mlflow,
            health="/health",
        ),
        Service(
            name="registry",
            words=[sys.executable, "-P", "-c", _PROGRAM, "serve-registry", "--port", str(registry)],
            environment={URI_VARIABLE: f"http://127.0.0.1:{mlflow}"},
            port=registry,
            health="/healthz",
        ),
    ]


def _asynchronous(address: str) -> str:
    """Return the address of a database with the driver that Prefect needs."""
    scheme, _, rest = address.partition("://")
    return f"{scheme.partition('+')[0]}+asyncpg://{rest}"


class RunningService:
    """A server that is starting or runs."""

    def __init__(self, service: Service, folder: Path) -> None:
        """Start it.

        Args:
            service: What to start.
            folder: For its log.

        Raises:
            PlatformError: If something listens at its port already.
        """
        self.service = service
        self._log = folder / "logs" / f"{service.name}.log"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", service.port)) == 0:
                raise PlatformError(
                    f"the port {service.port} must be free for {service.name}, but something "
                    f"listens there. Stop it, or name another: --{service.name}-port"
                )
        private_folder(folder)
        private_folder(self._log.parent)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                list(service.words),
                env={**os.environ, **service.environment},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends the platform, which ends them in order
            )

    def wait_until_ready(self) -> None:
        """Wait until it answers.

        Raises:
            PlatformError: If it ends, or does not answer in time.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._answers():
            self.check_alive()
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"{self.service.name} must answer at {self.service.url} within "
                    f"{READY_TIMEOUT_S:.0f} s, but does not. {self._end_of_log()}"
                )
            time.sleep(_POLL_S)

    def check_alive(self) -> None:
        """Raise `PlatformError` when its process has ended."""
        code = self._process.poll()
        if code is not None:
            how = f"ended with exit code {code}"
            if code < 0:
                how = f"was killed by {signal.Signals(-code).name}"
            raise PlatformError(f"{self.service.name} {how}. {self._end_of_log()}")

    def stop(self) -> None:
        """Stop it and what it has started."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _answers(self) -> bool:
        try:
            with _DIRECTLY.open(self.service.url + self.service.health, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _end_of_log(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        if not lines:
            return f"Its log {self._log} is empty."
        end = "".join(
            f"\n    {mask_secrets(line)[:_LINE_LENGTH]}" for line in lines[-_LINES_OF_LOG:]
        )
        return f"The end of its log {self._log}:{end}"


def set_up_server() -> None:
    """Make what our flows need on the Prefect server of `PREFECT_API_URL`, where it is missing.

    That is the automation that marks runs as crashed that stop to report, and the work pool of
    `prefect.yaml`. Prefect must be imported with that address: it reads it then.
    """
    from prefect import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    from flows.crashes import crash_silent_runs

    crash_silent_runs()
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
        except ObjectAlreadyExists:
            return
