"""A Prefect server of the workspace's own: records in ``.prefect``, ends with whoever started it.

Prefect's built-in temporary server outlives a run that is killed. Run as a program, this module
is the server: `python -m flows.server PARENT_PID PORT`.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.environment import API_VARIABLE
from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.parent import end_with_parent

READY_TIMEOUT_S = 180.0
_POLL_S = 0.1
_OWNER_ALONE_FOLDER = 0o700
_OWNER_ALONE_FILE = 0o600
_OWNER_ALONE_UMASK = 0o077
_STOP_TIMEOUT_S = 15.0
_LINES_OF_LOG = 10
_LINE_LENGTH = 200
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def prefect_server(root: Path, *, port: int | None = None) -> Iterator["PrefectServer"]:
    """Start a server in the background and stop it at the end; the caller waits until it answers.

    Args:
        root: The workspace.
        port: Port of the server with its user interface and its clean-up services; None for a
            server that only records, on any free port.
    """
    with_interface = port is not None
    server = PrefectServer(root, port or _free_port(), with_interface=with_interface)
    try:
        yield server
    finally:
        server.stop()


class PrefectServer:
    """A server that is starting or runs."""

    def __init__(self, root: Path, port: int, *, with_interface: bool) -> None:
        """Start it."""
        self.url = f"http://127.0.0.1:{port}"
        self._log = root / ".prefect" / "server.log"
        private_folder(self._log.parent)
        only_records = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"}
        environment = {
            **os.environ,
            "PREFECT__SERVER_FINAL": "1",
            "PREFECT_SERVER_UI_API_URL": self.api_url,
            **({} if with_interface else only_records),
        }
        with os.fdopen(_open_private(self._log), "w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flows.server", str(os.getpid()), str(port)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends the run, which ends the server
            )

    @property
    def api_url(self) -> str:
        """What `PREFECT_API_URL` is set to."""
        return f"{self.url}/api"

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            OfaPipelineError: If it ends, or does not answer in time.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None:
                raise OfaPipelineError(self._obituary())
            if time.monotonic() > deadline:
                raise OfaPipelineError(
                    f"Prefect's server must answer at {self.api_url} within {READY_TIMEOUT_S:.0f} "
                    f"s, but does not. {self._end_of_log()}\n"
                    f"Run again, or set {API_VARIABLE} to a server of your own."
                )
            time.sleep(_POLL_S)

    def wait_for_end(self, is_over: threading.Event) -> str | None:
        """Wait until the server ends.

        Returns:
            A sentence on how; None when the event says that this was to be.
        """
        self._process.wait()
        return None if is_over.is_set() else self._obituary()

    def stop(self) -> None:
        """Stop it, after it has written down what it still holds."""
        self._process.terminate()
        try:
            self._process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with _DIRECTLY.open(f"{self.api_url}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _obituary(self) -> str:
        code = self._process.poll()
        assert code is not None
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        return (
            f"Prefect's server of this workspace (process {self._process.pid}, {self.url}) {how}; "
            f"nothing goes on without it. {self._end_of_log()}\n"
            f"Run again to go on from there, or set {API_VARIABLE} to a server of your own."
        )

    def _end_of_log(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").strip().splitlines()
        except OSError as error:
            return f"Its log {self._log} cannot be read: {error.strerror}."
        if not lines:
            return f"Its log {self._log} is empty."
        end = "".join(f"\n    {line[:_LINE_LENGTH]}" for line in lines[-_LINES_OF_LOG:])
        return f"The end of its log {self._log}:{end}"


def private_folder(folder: Path) -> None:
    """Make a folder that its owner alone may enter: records and logs may hold secrets."""
    folder.mkdir(mode=_OWNER_ALONE_FOLDER, exist_ok=True)
    if folder.stat().st_uid == os.geteuid():
        folder.chmod(_OWNER_ALONE_FOLDER)  # an earlier version made it


def _open_private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ALONE_FILE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def serve_api(port: int) -> None:
    """Be the server, until SIGTERM."""
    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
    )


if __name__ == "__main__":
    os.umask(_OWNER_ALONE_UMASK)
    end_with_parent(int(sys.argv[1]))
    serve_api(int(sys.argv[2]))
