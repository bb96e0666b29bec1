"""The snapshot that answers: renewed beside the answers, and before one that would be old."""

import asyncio
import logging
import time
from collections.abc import Callable
from threading import Lock, Thread

from starlette.concurrency import run_in_threadpool

from ofa_pipeline.errors import OfaPipelineError, RegistryError
from ofa_pipeline.registry import Snapshot

RENEW_AFTER_S = 1.0
WAIT_AFTER_S = 3.0
"""Age at which an answer waits for the reading: nobody has asked for a while."""
WAIT_S = 2.0
"""That it waits for at most; then the last reading answers."""
_LOOK_EVERY_S = 0.005


class UnreadableRegistryError(OfaPipelineError):
    """The registry cannot be read, and nothing of it was read before."""


_log = logging.getLogger(__name__)


class CurrentSnapshot:
    """What is registered, as an answer needs it: at once.

    While others register, every step of theirs is a change. Reading each would leave no time for
    answers, so that is done at most once a second, in a thread, and what was read before answers
    meanwhile. Where nobody has asked for a while, `fresh` waits for it. A registry that has gone
    away leaves the last snapshot, and `fault` says why.
    """

    def __init__(self, read: Callable[[], Snapshot], *, after_s: float = RENEW_AFTER_S) -> None:
        """Read nothing yet.

        Args:
            read: Returns what is registered now.
            after_s: Age of a snapshot that is renewed.
        """
        self._read = read
        self._after_s = after_s
        self._lock = Lock()
        self._snapshot: Snapshot | None = None
        self._read_at = -float("inf")
        self._begun_at = -float("inf")
        self._ended_at = -float("inf")
        self.fault = ""
        """Why the last reading failed; empty where it did not."""

    def __call__(self) -> Snapshot:
        """Return the snapshot.

        Raises:
            UnreadableRegistryError: If there is none yet, and the registry cannot be read.
        """
        if self._snapshot is None:
            with self._lock:
                if self._snapshot is None:
                    self._begun_at = time.monotonic()
                    self._snapshot = self._first()
        elif self._is_older(self._after_s) and self._lock.acquire(blocking=False):
            self._begun_at = time.monotonic()
            Thread(target=self._renew, name="renew the snapshot", daemon=True).start()
        return self._snapshot

    async def fresh(self) -> None:
        """Wait until what answers is young, at most `WAIT_S`.

        Raises:
            UnreadableRegistryError: If nothing was read yet, and the registry cannot be read.
        """
        if self._snapshot is None:
            await run_in_threadpool(self)
        elif self._is_older(WAIT_AFTER_S):
            self()
            # Counted from where the reading began: one that takes long delays who comes first.
            until = self._begun_at + WAIT_S
            while self._is_older(WAIT_AFTER_S) and time.monotonic() < until:
                await asyncio.sleep(_LOOK_EVERY_S)

    @property
    def age_s(self) -> float:
        """Seconds since the registry was read; infinite where it never was."""
        return time.monotonic() - self._read_at

    @property
    def is_stale(self) -> bool:
        """Whether the last reading failed, or one is due for so long that nobody waits for it."""
        return bool(self.fault) or self.age_s > WAIT_AFTER_S + WAIT_S

    def _is_older(self, seconds: float) -> bool:
        """Whether the last reading, successful or not, ended longer ago."""
        return time.monotonic() - self._ended_at > seconds

    def _first(self) -> Snapshot:
        try:
            snapshot = self._read()
        except RegistryError as error:
            self.fault = str(error)
            raise UnreadableRegistryError(str(error)) from error
        self._keep(snapshot)
        return snapshot

    def _keep(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._read_at = self._begun_at
        self._ended_at = time.monotonic()
        self.fault = ""

    def _renew(self) -> None:
        """Read again; the lock is held, and given back."""
        try:
            self._keep(self._read())
        except RegistryError as error:
            if not self.fault:
                _log.warning("answers are as old as the last reading: %s", error)
            self.fault = str(error)
        finally:
            self._ended_at = time.monotonic()
            self._lock.release()
