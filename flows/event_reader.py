"""The flow's end of the pipe on which stages report; their end is `ofa_pipeline.stages.events`."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ofa_pipeline.stages.events import StageEvent
from ofa_pipeline.temporary import temporary_folder

Receive = Callable[[StageEvent], None]

_END = b"\x00\n"
_TURN = b"\x00turn "
"""Begins a line that says that all events before it belong to a turn that is over."""
_PATIENCE_S = 60.0
_LOG = logging.getLogger(__name__)


class EventReader:
    """A named pipe; its events go to whoever watches at the time."""

    def __init__(self) -> None:
        """Make nothing yet; see `opened`."""
        self._receive: Receive | None = None
        self._turns = 0
        self._turn_read = threading.Condition()
        self._last_read = 0
        self._handle = -1

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """Make the pipe and read it in a thread while the body runs.

        Yields:
            The path of the pipe, for `PIPE_VARIABLE`.
        """
        with temporary_folder("run") as folder:
            path = folder / "events"
            os.mkfifo(path)
            # Opened for both: the reader never sees an end before we write one ourselves.
            self._handle = os.open(path, os.O_RDWR)
            thread = threading.Thread(target=self._read, daemon=True)
            thread.start()
            try:
                yield path
            finally:
                os.write(self._handle, _END)
                thread.join()
                os.close(self._handle)

    @contextmanager
    def told_to(self, receive: Receive) -> Iterator[None]:
        """Tell somebody of the events of the body, the last one included."""
        self._receive = receive
        try:
            yield
            self._read_to_the_end()
        finally:
            self._receive = None

    def _read_to_the_end(self) -> None:
        """Wait until the events of this turn are read: the answer takes another, faster way.

        Otherwise what a stage reported last is lost, or is taken for the next stage's. A watcher
        that hangs (a server that does not answer) is waited for a minute only.
        """
        self._turns += 1
        turn = self._turns
        os.write(self._handle, _TURN + f"{turn}\n".encode())
        with self._turn_read:
            if not self._turn_read.wait_for(lambda: self._last_read >= turn, _PATIENCE_S):
                _LOG.warning("progress of a stage is shown so slowly that its end may be missing")

    def _read(self) -> None:
        with os.fdopen(os.dup(self._handle), "rb") as lines:
            for line in lines:
                if line == _END:
                    return
                if line.startswith(_TURN):
                    self._note_turn(int(line[len(_TURN) :]))
                    continue
                event, receive = StageEvent.from_line(line), self._receive
                if event is not None and receive is not None:
                    _tell(receive, event)

    def _note_turn(self, turn: int) -> None:
        with self._turn_read:
            self._last_read = turn
            self._turn_read.notify_all()


def _tell(receive: Receive, event: StageEvent) -> None:
    """Pass an event on; who cannot show it does not keep the next ones from being read."""
    try:
        receive(event)
    except Exception as error:  # noqa: BLE001 - the boundary to whoever watches
        _LOG.warning("progress of a stage could not be shown: %s", error)
