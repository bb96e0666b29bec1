"""A run ends when its Prefect server does: at once, and with a sentence that names it.

Prefect by itself goes on without a server for as long as the stage takes, then tries each of its
calls again for a minute.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from ofa_pipeline.cli.output import report_error, stderr
from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.exit_codes import EXIT_ERROR

SAVING_PATIENCE_S = 135.0
"""How long a run may take to end after its server: `DvcClient` gives a stage two minutes."""

_SIGNAL = signal.SIGUSR1


class ServerLostError(OfaPipelineError):
    """The Prefect server of a run has ended, or cannot be reached any more."""


class _RunEndsError(BaseException):
    """Raised in the main thread; no handler of ordinary errors takes it for one."""


class ServerWatch:
    """Watches a server from another thread while the body of a `with` statement runs."""

    def __init__(self, wait_for_end: Callable[[threading.Event], str | None]) -> None:
        """Start nothing yet.

        Args:
            wait_for_end: Blocks until the server is lost and returns a sentence that says so; None
                when the event, that nobody watches any more, is set before.
        """
        self._wait_for_end = wait_for_end
        self._is_over = threading.Event()
        self.lost: ServerLostError | None = None

    @contextmanager
    def guard(self) -> Iterator["ServerWatch"]:
        """Interrupt the body, in the main thread, when the server is lost.

        Raises:
            ServerLostError: In place of whatever the body came to be interrupted with.
        """
        before = signal.signal(_SIGNAL, self._interrupt)
        try:
            threading.Thread(target=self._watch, daemon=True).start()
            yield self
        except BaseException as error:
            if self.lost is not None:
                raise self.lost from error
            raise
        finally:
            self._is_over.set()
            signal.signal(_SIGNAL, before)

    def _watch(self) -> None:
        sentence = self._wait_for_end(self._is_over)
        if sentence is None or self._is_over.is_set():
            return
        self.lost = ServerLostError(sentence)
        _give_up_retrying()
        os.kill(os.getpid(), _SIGNAL)
        if not self._is_over.wait(SAVING_PATIENCE_S):
            stderr.show_cursor()
            report_error(self.lost, debug=False)
            leave(EXIT_ERROR)

    def _interrupt(self, _: int, __: FrameType | None) -> NoReturn:
        # Once: what the body does to end is not interrupted.
        signal.signal(_SIGNAL, signal.SIG_IGN)
        raise _RunEndsError


def leave(code: int) -> NoReturn:
    """End the process; Prefect's own exit handlers would wait for the server that is gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _give_up_retrying() -> None:
    """Let Prefect's calls fail at once, and quietly, from now on."""
    if "prefect.context" not in sys.modules:
        return  # it is not in use
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    settings.client.max_retries = 0
    settings.logging.to_api.enabled = False  # it would fill the screen with what it cannot send
