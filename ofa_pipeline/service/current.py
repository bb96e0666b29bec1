"""The snapshot that answers: at most a second old, renewed beside the answers."""

import logging
import time
from collections.abc import Callable
from threading import Lock, Thread

from ofa_pipeline.errors import OfaPipelineError, RegistryError
from ofa_pipeline.registry import Snapshot

RENEW_AFTER_S = 1.0


class UnreadableRegistryError(OfaPipelineError):
    """The registry cannot be read, and nothing of it was read before."""


_log = logging.getLogger(__name__)


class CurrentSnapshot:
    """What is registered, as an answer needs it: at once.

    While others register, every step of theirs is a change. Reading each would leave no time for
    answers, so that is done at most once a second, in a thread, and what was read before answers
    meanwhile. A registry that has gone away leaves the last snapshot, and `fault` says why.
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
                    self._snapshot = self._first()
        elif self.age_s > self._after_s and self._lock.acquire(blocking=False):
            Thread(target=self._renew, name="renew the snapshot", daemon=True).start()
        return self._snapshot

    def _first(self) -> Snapshot:
        try:
            snapshot = self._read()
        except RegistryError as error:
            self.fault = str(error)
            raise UnreadableRegistryError(str(error)) from error
        self.fault = ""
        self._read_at = time.monotonic()
        return snapshot

    @property
    def age_s(self) -> float:
        """Seconds since the registry was last asked."""
        return time.monotonic() - self._read_at

    def _renew(self) -> None:
        """Read again; the lock is held, and given back."""
        try:
            self._snapshot = self._read()
            self.fault = ""
        except RegistryError as error:
            if not self.fault:
                _log.warning("answers are as old as the last reading: %s", error)
            self.fault = str(error)
        finally:
            self._read_at = time.monotonic()
            self._lock.release()
