"""DVC in a process of its own, asked stage by stage, and the events of the stages it runs."""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from flows.environment import stage_environment
from ofa_pipeline.cli.output import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_TERMINATED
from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.stages.events import PIPE_VARIABLE, StageEvent
from ofa_pipeline.temporary import temporary_folder

Deed = Literal["reproduce", "force", "status"]

_PATIENCE_S = 120.0
_LINES_OF_OUTPUT = 20
_END = b"\x00\n"
_TURN = b"\x00turn "
"""Of a line that says that all events before it belong to a turn that is over."""
_EVENTS_PATIENCE_S = 60.0
_LOG = logging.getLogger(__name__)


class StageFailedError(OfaPipelineError):
    """A stage ended with an error; the message is the stage's own."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        """Keep the exit code, which says what kind of error it was."""
        super().__init__(message)
        self.exit_code = exit_code


class Watcher:
    """Receives the events of one request; this one only remembers what the answer needs."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.has_started = False
        self.failure: StageEvent | None = None
        self.turn_began = time.monotonic()
        """When DVC was asked: requests of other threads may have come before."""

    def receive(self, event: StageEvent) -> None:
        """Take note of an event."""
        if event.kind == "started":
            self.has_started = True
        elif event.kind == "failed":
            self.failure = event


class DvcClient:
    """A DVC process for one run of a workspace.

    It does one thing at a time, on purpose: whatever runs beside a latency measurement is in the
    measurement. Safe to use from several threads, which take turns.
    """

    def __init__(self, root: Path) -> None:
        """Start nothing yet; enter it as a context."""
        self.root = root
        self._turn = threading.Lock()
        self._stack = ExitStack()
        self._watcher: Watcher | None = None
        self._turns = 0
        self._turn_read = threading.Condition()
        self._last_read = 0
        self._process: subprocess.Popen[str] | None = None
        self._answers: IO[str] | None = None
        self._output: IO[str] | None = None
        self._is_stopped = False

    def __enter__(self) -> "DvcClient":
        """Make the pipe of events; DVC itself starts with the first question."""
        self._events = self._stack.enter_context(self._event_pipe())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End DVC, and a stage that still runs."""
        if error is not None:
            self.stop(error)
        self._end_process()
        self._stack.close()

    def ask(self, deed: Deed, stages: Sequence[str], watcher: Watcher) -> list[str]:
        """Ask DVC to bring stages up to date, or what their status is.

        Args:
            deed: ``reproduce``; ``force`` also when nothing changed; ``status`` does nothing.
            stages: Addresses, such as ``search@cpu-onnxruntime``.
            watcher: Receives what the stage reports.

        Returns:
            The stages that were run or restored; for ``status``, those that are not current.

        Raises:
            StageFailedError: If a stage or DVC fails, or the run was told to stop.
        """
        with self._turn:
            if self._is_stopped:
                raise StageFailedError("not started: the run stops", exit_code=EXIT_TERMINATED)
            watcher.turn_began = time.monotonic()
            self._watcher = watcher
            try:
                answer = self._converse({"do": deed, "stages": list(stages)})
                self._read_to_the_end()
            except BaseException as error:
                self.stop(error)
                raise
            finally:
                self._watcher = None
        if answer["exit_code"]:
            raise self._failure(answer, ", ".join(stages), watcher)
        return [str(stage) for stage in answer["changed"]]

    def stop(self, reason: BaseException) -> None:
        """Tell the stage that runs to save and end, wait for that, and start no other one."""
        self._is_stopped = True
        process = self._process
        if process is None or self._watcher is None:
            return
        number = signal.SIGINT if isinstance(reason, KeyboardInterrupt) else signal.SIGTERM
        _signal_group(process, number)
        self._close_input(process)
        try:
            process.wait(timeout=_PATIENCE_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            _signal_group(process, signal.SIGKILL)

    def _converse(self, request: dict[str, Any]) -> dict[str, Any]:
        process, answers = self._running_process()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(answers.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            code = process.wait()
            self._end_process()
            return {
                "exit_code": 128 - code if code < 0 else code or EXIT_ERROR,
                "error": "DVC ended without an answer",
            }
        return answer

    def _read_to_the_end(self) -> None:
        """Wait until the events of this turn are read: the answer takes another, faster way.

        Otherwise what a stage reported last is lost, or is taken for the next stage's. A watcher
        that hangs (a server that does not answer) is waited for a minute only.
        """
        self._turns += 1
        turn = self._turns
        os.write(self._event_writer, _end_of_turn(turn))
        with self._turn_read:
            if not self._turn_read.wait_for(lambda: self._last_read >= turn, _EVENTS_PATIENCE_S):
                _LOG.warning("progress of a stage is shown so slowly that its end may be missing")

    def _running_process(self) -> tuple["subprocess.Popen[str]", IO[str]]:
        if self._process is not None and self._answers is not None:
            return self._process, self._answers
        reader, writer = os.pipe()
        output = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed by the stack
        self._output = self._stack.enter_context(output)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.dvc_child", str(os.getpid()), str(writer)],
            cwd=self.root,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[writer],
            text=True,
            start_new_session=True,  # Ctrl-C comes from us, once, so that the stage can save
        )
        os.close(writer)
        self._answers = os.fdopen(reader)
        return self._process, self._answers

    def _end_process(self) -> None:
        process, answers = self._process, self._answers
        self._process = self._answers = None
        if process is not None:
            self._close_input(process)
            process.wait()
        if answers is not None:
            answers.close()

    @staticmethod
    def _close_input(process: "subprocess.Popen[str]") -> None:
        if process.stdin is not None and not process.stdin.closed:
            try:
                process.stdin.close()
            except BrokenPipeError:
                return  # it has ended with a request unread

    def _environment(self) -> dict[str, str]:
        """Return the environment of DVC and the stages: our interpreter's commands come first."""
        commands = str(Path(sys.executable).parent)
        return {
            **stage_environment(os.environ),
            "PATH": os.pathsep.join([commands, os.environ.get("PATH", "")]),
            PIPE_VARIABLE: str(self._events),
        }

    def _failure(self, answer: dict[str, Any], stages: str, watcher: Watcher) -> StageFailedError:
        if watcher.failure is not None:
            text = f"{stages}: {watcher.failure.error}"
            return StageFailedError(text, exit_code=watcher.failure.exit_code)
        code = answer["exit_code"]
        if code in (EXIT_INTERRUPTED, EXIT_TERMINATED):
            text = f"{stages} was stopped. Run again to go on from there."
            return StageFailedError(text, exit_code=code)
        details = "".join(f"\n    {line}" for line in self._last_output())
        return StageFailedError(f"{stages}: {answer['error']}{details}", exit_code=code)

    def _last_output(self) -> list[str]:
        """Return the end of what DVC and the stages printed: the trace of a crash."""
        if self._output is None:
            return []
        self._output.seek(0)
        return mask_secrets(self._output.read()).strip().splitlines()[-_LINES_OF_OUTPUT:]

    @contextmanager
    def _event_pipe(self) -> Iterator[Path]:
        """Make a named pipe whose events go to the watcher of the request that is answered."""
        with temporary_folder("run") as folder:
            path = folder / "events"
            os.mkfifo(path)
            # Opened for both: the reader never sees an end before we write one ourselves.
            handle = self._event_writer = os.open(path, os.O_RDWR)
            thread = threading.Thread(target=self._read_events, args=(handle,), daemon=True)
            thread.start()
            try:
                yield path
            finally:
                os.write(handle, _END)
                thread.join()
                os.close(handle)

    def _read_events(self, handle: int) -> None:
        with os.fdopen(os.dup(handle), "rb") as lines:
            for line in lines:
                if line == _END:
                    return
                if line.startswith(_TURN):
                    self._note_turn(int(line[len(_TURN) :]))
                    continue
                event, watcher = StageEvent.from_line(line), self._watcher
                if event is not None and watcher is not None:
                    _tell(watcher, event)

    def _note_turn(self, turn: int) -> None:
        with self._turn_read:
            self._last_read = turn
            self._turn_read.notify_all()


def _end_of_turn(turn: int) -> bytes:
    return _TURN + f"{turn}\n".encode()


def _tell(watcher: Watcher, event: StageEvent) -> None:
    """Pass an event on; who cannot show it does not keep the next ones from being read."""
    try:
        watcher.receive(event)
    except Exception as error:  # noqa: BLE001 - the boundary to whoever watches
        _LOG.warning("progress of a stage could not be shown: %s", error)


def _signal_group(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # it has just ended
