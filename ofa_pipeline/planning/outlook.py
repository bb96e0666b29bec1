"""How far a run is: the number of a stage among all, and the time that is left."""

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

_TRUST_S = 30.0
"""Weight of what was expected beside what was measured: short stages say little of long ones."""


@dataclass(slots=True)
class _Turn:
    """A stage that has been asked for."""

    number: int
    begun: float
    runs: bool = False
    own_left_s: float | None = None
    """What the stage itself says that it still needs."""
    took_s: float | None = None
    """None until it has ended."""


class Outlook:
    """Follows a run and says what is left of it; safe to use from several threads."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        before: Mapping[str, Collection[str]],
        expected_s: Mapping[str, float] | None = None,
        stale: Collection[str] = (),
    ) -> None:
        """Take what is known before the run.

        Args:
            addresses: The stages of the run.
            before: Which stages write what a stage reads.
            expected_s: Seconds that a stage takes if it runs; those without are not counted.
            stale: Stages that will run.
        """
        self._addresses = tuple(addresses)
        self._before = before
        self._expected_s = dict(expected_s or {})
        self._waiting = {address for address in addresses if address in stale}
        self._turns: dict[str, _Turn] = {}
        self._lock = threading.Lock()

    def expect(self, expected_s: Mapping[str, float]) -> None:
        """Take the seconds of those stages that nothing was known of when the run began."""
        with self._lock:
            self._expected_s = {**expected_s, **self._expected_s}

    def ask(self, address: str) -> None:
        """Note that it is the stage's turn: it gets the next number."""
        with self._lock:
            number = self._turns[address].number if address in self._turns else len(self._turns) + 1
            self._turns[address] = _Turn(number, time.monotonic())

    def start(self, address: str) -> None:
        """Note that the stage is not up to date and runs: then so do those that read of it."""
        with self._lock:
            self._turns[address].runs = True
            self._add_followers(address)

    def progress(self, address: str, seconds_left: float) -> None:
        """Note what the stage itself expects."""
        with self._lock:
            self._turns[address].own_left_s = seconds_left

    def end(self, address: str) -> None:
        """Note that the stage is up to date."""
        with self._lock:
            self._waiting.discard(address)
            turn = self._turns.get(address)  # none where the run stopped before its turn
            if turn is not None:
                turn.took_s = time.monotonic() - turn.begun

    def position(self, address: str) -> str:
        """Return which of the stages it is, for example ``stage 5 of 18``."""
        with self._lock:
            number = self._turns[address].number
        return f"stage {number} of {max(len(self._addresses), number)}"

    def seconds_left(self) -> float | None:
        """Return the seconds that the run still takes; None where nothing is known of it.

        The expected seconds of what is to come, times what the stages up to now have taken more or
        less than expected.
        """
        with self._lock:
            running = {
                address: turn
                for address, turn in self._turns.items()
                if turn.runs and turn.took_s is None
            }
            to_come = [a for a in self._waiting - running.keys() if a in self._expected_s]
            known = to_come or any(self._left_of(a, t, 1.0) is not None for a, t in running.items())
            if not known:
                return None
            factor = self._factor()
            left = factor * sum(self._expected_s[address] for address in to_come)
            return left + sum(self._left_of(a, t, factor) or 0.0 for a, t in running.items())

    def _left_of(self, address: str, turn: _Turn, factor: float) -> float | None:
        """Return what a running stage still takes: what it says itself, or what was expected."""
        passed = time.monotonic() - turn.begun
        expected = self._expected_s.get(address)
        rest = None if expected is None else max(factor * expected - passed, 0.0)
        if turn.own_left_s is None or rest is None:
            return rest if turn.own_left_s is None else turn.own_left_s
        # Of several parts a stage tells of the present one: it weighs what was expected by time.
        share = min(passed / max(passed + rest, 1e-9), 1.0)
        return share * turn.own_left_s + (1 - share) * rest

    def _factor(self) -> float:
        """Return how much longer than expected the stages take."""
        took = expected = _TRUST_S
        for address, turn in self._turns.items():
            if turn.runs and turn.took_s is not None and address in self._expected_s:
                took += turn.took_s
                expected += self._expected_s[address]
        return took / expected

    def _add_followers(self, address: str) -> None:
        self._waiting.add(address)
        for follower in self._addresses:
            is_new = follower not in self._waiting and follower not in self._turns
            if is_new and address in self._before.get(follower, ()):
                self._add_followers(follower)
