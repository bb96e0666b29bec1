"""One Prefect task a stage. DVC judges whether there is anything to do; nothing else calls DVC.

The task starts `flows.dvc_child`, follows the stage's events on a named pipe, and turns them
into Prefect's progress and log. Prefect's own result cache stays off: there is one judge.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import prefect.runtime
from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.tasks import Task

from ofa_pipeline.cli.display import Display, duration_text, progress_text
from ofa_pipeline.cli.events import PIPE_VARIABLE, StageEvent
from ofa_pipeline.cli.output import EXIT_BUSY, EXIT_INTERRUPTED, EXIT_TERMINATED
from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.progress import ProgressEvent
from ofa_pipeline.workspace import RUN_PID_VARIABLE

if TYPE_CHECKING:
    from uuid import UUID

OutcomeKind = Literal["ran", "restored", "skipped"]

DISPLAY: ContextVar[Display | None] = ContextVar("DISPLAY", default=None)
"""Where people watch; Prefect's log and artifacts get the same either way."""

MACHINE = threading.Lock()
"""One stage at a time: whatever runs beside a latency measurement is in the measurement."""

_PROGRESS_EVERY_S = 5.0
_PATIENCE_S = 120.0
_KILLED = 128 + signal.SIGKILL


class StageFailedError(OfaPipelineError):
    """A stage ended with an error; the message is the stage's own."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        """Keep the exit code, which says what kind of error it was."""
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a stage came to be up to date."""

    address: str
    kind: OutcomeKind
    duration_s: float

    @property
    def text(self) -> str:
        """A line for people."""
        if self.kind == "ran":
            return f"{self.address}: done in {duration_text(self.duration_s)}"
        if self.kind == "restored":
            return f"{self.address}: restored, an earlier run had the same inputs"
        return f"{self.address}: skipped, nothing changed"


def address_of(stage: str, item: str | None = None) -> str:
    """Return the name of a stage as DVC has it."""
    return stage if item is None else f"{stage}@{item}"


def is_worth_retrying(_: Task[Any, Any], __: TaskRun, state: State[Any]) -> bool:
    """Return whether a failed stage may do better next time.

    A stage killed from outside (out of memory, an impatient administrator) resumes from its
    checkpoint, and a lock held by another DVC command is given back. Wrong inputs stay wrong.
    """
    error = state.result(raise_on_failure=False)
    return isinstance(error, StageFailedError) and error.exit_code in (_KILLED, EXIT_BUSY)


def _name_of_run() -> str:
    arguments = prefect.runtime.task_run.parameters
    return address_of(arguments["stage"], arguments.get("item"))


@task(
    task_run_name=_name_of_run,
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=[5, 30],
    retry_condition_fn=is_worth_retrying,
)
def run_stage(root: Path, stage: str, item: str | None = None, *, force: bool = False) -> Outcome:
    """Bring one stage of a workspace up to date.

    Args:
        root: The workspace, held by this run.
        stage: Name of a row of `STAGES`.
        item: Phase or device, where the stage has them.
        force: Run it even when nothing changed.

    Raises:
        StageFailedError: If it fails; with the stage's own words.
    """
    address = address_of(stage, item)
    display = DISPLAY.get()
    watcher = _TaskWatcher(address, display)
    start = time.monotonic()
    try:
        with MACHINE:
            answer = call_dvc(root, [address, *(["--force"] if force else [])], watcher)
    finally:
        watcher.finish()
    changed = answer["changed"]
    kind: OutcomeKind = "skipped" if not changed else "ran" if watcher.has_started else "restored"
    outcome = Outcome(address=address, kind=kind, duration_s=time.monotonic() - start)
    get_run_logger().info(outcome.text)
    if display:
        display.line(outcome.text, style="" if kind == "ran" else "dim")
    return outcome


def stale_stages(root: Path, addresses: list[str]) -> list[str]:
    """Return which of some stages DVC would run again.

    Raises:
        StageFailedError: If DVC cannot tell.
    """
    changed = call_dvc(root, ["--status", *addresses], Watcher("status"))["changed"]
    return [str(address) for address in changed]


def call_dvc(root: Path, arguments: list[str], watcher: "Watcher") -> dict[str, Any]:
    """Run `flows.dvc_child` in a workspace and return its answer.

    Raises:
        StageFailedError: If DVC or the stage fails.
        KeyboardInterrupt: After the stage has saved its state.
    """
    with _event_pipe(watcher) as pipe, tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.dvc_child", str(os.getpid()), *arguments],
            cwd=root,
            env=_environment(pipe),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C comes from us, once, so that the stage can save
        )
        _wait_for(process)
        output.seek(0)
        return _answer_of(process, output, watcher)


def _answer_of(
    process: "subprocess.Popen[bytes]", output: IO[str], watcher: "Watcher"
) -> dict[str, Any]:
    said = output.read().strip().splitlines()
    try:
        answer: dict[str, Any] = json.loads(said[-1])
    except (IndexError, json.JSONDecodeError):
        answer = {"error": "\n".join(said[-20:]) or "DVC ended without an answer"}
    if process.returncode == 0:
        return answer
    failure = watcher.failure
    if failure is not None:
        raise StageFailedError(f"{watcher.address}: {failure.error}", exit_code=failure.exit_code)
    code = process.returncode % 256 if process.returncode > 0 else 128 - process.returncode
    if code in (EXIT_INTERRUPTED, EXIT_TERMINATED):
        raise StageFailedError(
            f"{watcher.address} was stopped. Run again to go on from there.", exit_code=code
        )
    details = "".join(f"\n    {line}" for line in said[-20:-1])
    raise StageFailedError(f"{watcher.address}: {answer['error']}{details}", exit_code=code)


def _wait_for(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the end; when this run is told to stop, tell the stage and wait until it saved."""
    try:
        process.wait()
    except BaseException as error:
        number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
        _signal_group(process, number)
        try:
            process.wait(timeout=_PATIENCE_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            _signal_group(process, signal.SIGKILL)
        raise


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # it has just ended


def _environment(pipe: Path) -> dict[str, str]:
    """Return the environment of DVC and the stage: our interpreter's commands come first."""
    commands = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([commands, os.environ.get("PATH", "")]),
        PIPE_VARIABLE: str(pipe),
        RUN_PID_VARIABLE: str(os.getpid()),
    }


@contextmanager
def _event_pipe(watcher: "Watcher") -> Iterator[Path]:
    """Make a named pipe whose events go to the watcher while the body runs."""
    with tempfile.TemporaryDirectory(prefix="ofa-") as folder:
        path = Path(folder) / "events"
        os.mkfifo(path)
        # Opened for both: the reader never sees an end before we close it ourselves.
        reader = os.open(path, os.O_RDWR)
        # In the task's context: Prefect files log lines and artifacts under the task run.
        thread = threading.Thread(
            target=copy_context().run, args=(_read_events, reader, watcher), daemon=True
        )
        thread.start()
        try:
            yield path
        finally:
            os.write(reader, _END)
            thread.join()
            os.close(reader)


_END = b"\x00\n"


def _read_events(reader: int, watcher: "Watcher") -> None:
    with os.fdopen(os.dup(reader), "rb") as lines:
        for line in lines:
            if line == _END:
                return
            event = StageEvent.from_line(line)
            if event is not None:
                watcher.receive(event)


class Watcher:
    """Turns the events of one stage into what people see."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.has_started = False
        self.failure: StageEvent | None = None

    def receive(self, event: StageEvent) -> None:
        """Take note of an event."""
        if event.kind == "started":
            self.has_started = True
        elif event.kind == "failed":
            self.failure = event
        else:
            self.progress(event.progress)

    def progress(self, event: ProgressEvent) -> None:
        """Show progress; nobody watches here."""

    def finish(self) -> None:
        """End what was shown."""


class _TaskWatcher(Watcher):
    """Shows progress on the terminal, in Prefect's log and as a progress artifact."""

    def __init__(self, address: str, display: Display | None) -> None:
        super().__init__(address)
        self._display = display
        self._logger = get_run_logger()
        self._artifact: UUID | None = None
        self._next_update = 0.0

    def progress(self, event: ProgressEvent) -> None:
        if self._display:
            self._display.show(self.address, event)
        if event.total == 0:
            figures = "".join(f", {name} {value:.4g}" for name, value in event.metrics.items())
            self._logger.info("%s%s", event.label, figures)
        elif time.monotonic() >= self._next_update:
            self._next_update = time.monotonic() + _PROGRESS_EVERY_S
            self._update(100 * event.done / event.total, f"{event.label}: {progress_text(event)}")

    def finish(self) -> None:
        if self._display:
            self._display.finish(self.address)
        if self._artifact is not None:
            self._update(100.0, "done")

    def _update(self, percent: float, text: str) -> None:
        if self._artifact is None:
            key = re.sub("[^a-z0-9]+", "-", self.address)
            created = create_progress_artifact(percent, key=key, description=text)
            self._artifact = cast("UUID", created)  # a coroutine only inside async code
        else:
            update_progress_artifact(self._artifact, percent, description=text)
