"""DVC in a process of its own, asked stage by stage, and the events of the stages it runs."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from flows.environment import stage_environment
from flows.event_reader import EventReader
from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.exit_codes import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    exit_code_of_process,
)
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.planning import Judgement
from ofa_pipeline.stages.events import PIPE_VARIABLE, StageEvent

Deed = Literal["reproduce", "force", "status", "judge"]

_PATIENCE_S = 120.0
_LINES_OF_OUTPUT = 20


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

    def begin(self) -> None:
        """Take note that it is this request's turn."""
        self.turn_began = time.monotonic()

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
        self._events = EventReader()
        self._process: subprocess.Popen[str] | None = None
        self._answers: IO[str] | None = None
        self._output: IO[str] | None = None
        self._is_asked = False
        self._is_stopped = False

    def __enter__(self) -> "DvcClient":
        """Make the pipe of events; DVC itself starts with the first question."""
        self._pipe = self._stack.enter_context(self._events.opened())
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
        return [str(stage) for stage in self._ask(deed, stages, watcher)["changed"]]

    def judge(self, stages: Sequence[str]) -> Judgement:
        """Ask DVC which stages are not current, and which of them it can restore.

        Raises:
            StageFailedError: If DVC fails, or the run was told to stop.
        """
        answer = self._ask("judge", stages, Watcher())
        return Judgement(
            changed=frozenset(answer["changed"]), restorable=frozenset(answer["restorable"])
        )

    def _ask(self, deed: Deed, stages: Sequence[str], watcher: Watcher) -> dict[str, Any]:
        with self._turn:
            if self._is_stopped:
                raise StageFailedError("not started: the run stops", exit_code=EXIT_TERMINATED)
            watcher.begin()
            with self._events.told_to(watcher.receive):
                answer = self._answer_to({"do": deed, "stages": list(stages)})
        if answer["exit_code"]:
            raise self._failure(answer, ", ".join(stages), watcher)
        return answer

    def stop(self, reason: BaseException) -> None:
        """Tell the stage that runs to save and end, wait for that, and start no other one."""
        self._is_stopped = True
        process = self._process
        if process is None or not self._is_asked:
            return
        number = signal.SIGINT if isinstance(reason, KeyboardInterrupt) else signal.SIGTERM
        _signal_group(process, number)
        self._close_input(process)
        try:
            process.wait(timeout=_PATIENCE_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            _signal_group(process, signal.SIGKILL)

    def _answer_to(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask DVC; who is interrupted meanwhile stops the stage that runs."""
        self._is_asked = True
        try:
            return self._converse(request)
        except BaseException as error:
            self.stop(error)
            raise
        finally:
            self._is_asked = False

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
                "exit_code": exit_code_of_process(code) or EXIT_ERROR,
                "error": "DVC ended without an answer",
            }
        return answer

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
            PIPE_VARIABLE: str(self._pipe),
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


def _signal_group(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # it has just ended
