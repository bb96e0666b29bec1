"""Ctrl-C and SIGTERM end training at the next step boundary, after a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether somebody asked the process to end, and how to."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._signal: int | None = None

    @property
    def is_made(self) -> bool:
        """Whether to save and end."""
        return self._signal is not None

    @property
    def number(self) -> int | None:
        """The signal that asked; None while nobody has."""
        return self._signal

    def make(self, number: int) -> None:
        """Ask for what a signal that another process got asks for."""
        if self._signal is None:
            self._signal = number

    def note(self, number: int, _: FrameType | None) -> None:
        """Remember the signal; a second Ctrl-C ends at once, without a save."""
        if self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number

    def obey(self) -> None:
        """End as the signal would have: KeyboardInterrupt, or exit code 128 + its number.

        Raises:
            KeyboardInterrupt: After Ctrl-C.
            SystemExit: After SIGTERM.
        """
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self._signal is not None:
            raise SystemExit(128 + self._signal)


@contextmanager
def deferred_stop() -> Iterator[StopRequest]:
    """Turn Ctrl-C and SIGTERM into a `StopRequest` while the body runs.

    Only the main thread may handle signals: elsewhere the request is never made.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, request.note) for number in numbers]
    try:
        yield request
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
