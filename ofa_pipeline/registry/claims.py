"""Who is registering what: claims that tell work in flight from the remains of a killed process.

A registry has no transactions, and its writers may sit on several machines. So every LoggedModel
and every run bears the claim of its owner until it is complete. What another has in flight is
waited for, never removed; it is remains when its owner is dead. That is known at once on the same
machine (the process is gone) and after a while elsewhere (its claim is no longer renewed).
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

CLAIM_TAG = "ofa.claim"
"""On a run, and on a LoggedModel that is not complete: who writes it, as JSON."""

RENEW_EVERY_S = 15.0
SILENCE_S = 120.0
"""An owner elsewhere that did not renew for so long, by the clock of who waits, is dead."""
TOO_OLD_S = 3600.0
"""What was last renewed so long ago is remains at once; no two clocks differ so much."""

_HELD: set[str] = set()
"""Claims that this process holds: of its own, too, only those are in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A process that writes something, told from every other one that was or will be."""

    machine: str
    """Host, its start, and the space of process ids: those in which a process id says something."""
    uid: int
    pid: int
    started: int
    """In ticks since the start of the machine: process ids are used again."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    renewed: float = 0.0
    """When the owner last showed that it lives: seconds since 1970 by its own clock."""

    def to_tag(self) -> str:
        """Return what is written down: the claim, renewed now."""
        return json.dumps(asdict(replace(self, renewed=round(time.time()))), sort_keys=True)

    @classmethod
    def from_tag(cls, text: str) -> "Claim | None":
        """Read what `to_tag` wrote; None when it is no claim."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError):
            return None

    def is_alive(self) -> bool | None:
        """Whether the owner still works on it; None when that cannot be seen from here."""
        if self.id in _HELD:
            return True
        if self.machine != this_machine():
            return None
        return self.pid != os.getpid() and start_of(self.pid) == self.started


@contextmanager
def held_claim() -> Iterator[Claim]:
    """Make a claim of this process and hold it for the body."""
    claim = Claim(
        machine=this_machine(), uid=os.getuid(), pid=os.getpid(), started=start_of(os.getpid()) or 0
    )
    _HELD.add(claim.id)
    try:
        yield claim
    finally:
        _HELD.discard(claim.id)


@cache
def this_machine() -> str:
    """Return what two processes share when they can see each other's process ids."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    names = Path("/proc/self/ns/pid")
    return " ".join(
        [
            socket.gethostname(),
            boot.read_text().strip() if boot.exists() else "",
            str(names.readlink()) if names.is_symlink() else "",
        ]
    )


def start_of(pid: int) -> int | None:
    """Return when a process began, in ticks since the start of the machine; None when it is gone.

    A process that has ended and was not yet waited for is gone.
    """
    try:
        # The name, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_in_flight(tags: Mapping[str, str], *, since_s: float) -> bool | None:
    """Whether something that is not complete is still being written; None when that is unknown.

    Args:
        tags: Tags of a LoggedModel or a run.
        since_s: When it was made, seconds since 1970: all that an earlier version tells.
    """
    claim = Claim.from_tag(tags.get(CLAIM_TAG, ""))
    if claim is None:
        return False if time.time() - since_s > SILENCE_S else None
    alive = claim.is_alive()
    if alive is None and time.time() - claim.renewed > TOO_OLD_S:
        return False
    return alive


class Patience:
    """Watches what others have in flight, and says when one has been silent for too long."""

    def __init__(self, *, silence_s: float = SILENCE_S) -> None:
        """Nothing has been seen yet."""
        self._silence_s = silence_s
        self._seen: dict[str, tuple[str, float]] = {}

    def has_ended(self, name: str, sign_of_life: str) -> bool:
        """Whether the same sign of life has been all there was for too long, by our own clock."""
        before, since = self._seen.get(name, ("", 0.0))
        if name not in self._seen or before != sign_of_life:
            self._seen[name] = (sign_of_life, time.monotonic())
            return False
        return time.monotonic() - since > self._silence_s

    def is_at_an_end(self, name: str, tags: Mapping[str, str], *, since_s: float) -> bool:
        """Whether nobody writes something any more, as far as can be told by now."""
        in_flight = is_in_flight(tags, since_s=since_s)
        if in_flight is None:
            return self.has_ended(name, tags.get(CLAIM_TAG, ""))
        return not in_flight


@contextmanager
def renewed(renew: Callable[[], object], *, every_s: float = RENEW_EVERY_S) -> Iterator[None]:
    """Renew a claim in the background while the body runs.

    Args:
        renew: Writes the claim down again; what it raises, the body meets by itself.
        every_s: Seconds between two calls.
    """
    done = threading.Event()

    def work() -> None:
        while not done.wait(every_s):
            with suppress(Exception):  # an outage: the body meets it, and says it
                renew()

    thread = threading.Thread(target=work, name="renew the claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
