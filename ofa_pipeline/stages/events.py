"""What a stage and the flow that runs it say to each other: events, one JSON object a line.

The flow makes a named pipe and passes its path in `PIPE_VARIABLE`; DVC hands the environment on
to the stage. Progress is for people who watch: when the pipe is full or nobody reads, it is
dropped, and the stage goes on. That a stage began or failed is worth waiting for, some seconds.
"""

import json
import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ofa_pipeline.errors import shorten
from ofa_pipeline.progress import ProgressEvent, Reporter

PIPE_VARIABLE = "OFA_PROGRESS_PIPE"

MAX_LINE = 4096
"""Bytes that a pipe takes whole (PIPE_BUF)."""

_SHORT = 130
"""Characters of a text, of which none is ASCII, in a line of that length."""

_PATIENCE_MS = 10_000
"""For a reader that is behind, with an event that changes what a run says."""

EventKind = Literal["started", "progress", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEvent:
    """What a stage tells whoever runs it."""

    kind: EventKind
    progress: ProgressEvent = field(default_factory=lambda: ProgressEvent(label=""))
    error: str = ""
    """The line that a user should read when a stage failed."""
    exit_code: int = 0

    def to_line(self) -> bytes:
        """Return the event as a line of JSON, short enough to be written whole."""
        line = json.dumps(asdict(self)).encode() + b"\n"
        if len(line) <= MAX_LINE:
            return line
        # Other letters than ASCII take up to 12 characters in JSON.
        label = shorten(self.progress.label, _SHORT)
        progress = replace(self.progress, label=label, metrics={})
        short = replace(self, error=shorten(self.error, _SHORT), progress=progress)
        return json.dumps(asdict(short)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "StageEvent | None":
        """Return the event of a line; None for one that was cut off."""
        try:
            values: dict[str, Any] = json.loads(line)
            return cls(**{**values, "progress": ProgressEvent(**values["progress"])})
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError):
            return None


class EventPipe:
    """The writing end in the stage."""

    def __init__(self, path: str) -> None:
        """Open the pipe; without a reader everything sent is dropped."""
        try:
            self._handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            self._handle = -1

    def send(self, event: StageEvent) -> None:
        """Send an event, whole or not at all (lines are shorter than PIPE_BUF)."""
        if self._handle < 0:
            return
        try:
            if event.kind != "progress":
                self._wait_for_room()
            os.write(self._handle, event.to_line())
        except BlockingIOError:
            return  # the reader is slow: the next event is newer anyway
        except BrokenPipeError:
            self.close()

    def _wait_for_room(self) -> None:
        """Wait until a whole line fits: Linux reports a pipe as writable from PIPE_BUF bytes on."""
        poll = select.poll()
        poll.register(self._handle, select.POLLOUT)
        poll.poll(_PATIENCE_MS)

    def close(self) -> None:
        """Close the pipe."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def is_followed() -> bool:
    """Return whether a flow runs this stage: it then shows what there is to see."""
    return PIPE_VARIABLE in os.environ


@contextmanager
def reporting_to_flow(*, failed: Callable[[BaseException], StageEvent]) -> Iterator[Reporter]:
    """Tell the flow that runs this stage that it began, how far it is, and why it failed.

    Args:
        failed: The event of an error that ends the stage, in words for a user.
    """
    pipe = EventPipe(os.environ[PIPE_VARIABLE])
    pipe.send(StageEvent(kind="started"))
    try:
        yield Reporter(lambda event: pipe.send(StageEvent(kind="progress", progress=event)))
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        pipe.send(failed(error))
        raise
    finally:
        pipe.close()
