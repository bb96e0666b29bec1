"""Who is registering what: claims that tell work in flight from the remains of a killed process.

A registry has no transactions, and its writers may sit on several machines. So every LoggedModel
and every run bears the claim of its owner until it is complete. What another has in flight is
waited for, never removed; it is remains when its owner is dead. That is known at once on the same
machine (the process is gone) and after a while elsewhere (its claim is no longer renewed).

What another machine's clock shows is never compared with ours: either may be wrong by hours. A
claim that is renewed changes, and how long it has not, the clock that counts from our start tells.
"""

import hashlib
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
SEEN_TAG = "ofa.seen"
"""On a run whose owner is elsewhere, with the machine that looked behind a dot: which claim it met
first when, in seconds since its own start, as JSON."""

RENEW_EVERY_S = 15.0
SILENCE_S = 120.0
"""An owner elsewhere that did not renew for so long, by the clock of who waits, is dead."""

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
    """When the owner last showed that it lives: seconds since 1970 by its own clock. It is there to
    change, also where that clock is set back, and is compared with no other clock."""

    def to_tag(self) -> str:
        """Return what is written down: the claim, renewed now."""
        return json.dumps(asdict(replace(self, renewed=time.time())), sort_keys=True)

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
    names = Path("/proc/self/ns/pid")
    return " ".join(
        [socket.gethostname(), _this_start(), str(names.readlink()) if names.is_symlink() else ""]
    )


@cache
def _this_start() -> str:
    """Return the id of the machine's last start; empty where there is none."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text().strip() if boot.exists() else ""


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


def is_in_flight(tags: Mapping[str, str]) -> bool | None:
    """Whether something that is not complete is still being written; None when that is unknown.

    Args:
        tags: Tags of a LoggedModel or a run. Those of an earlier version have no claim.
    """
    claim = Claim.from_tag(tags.get(CLAIM_TAG, ""))
    return None if claim is None else claim.is_alive()


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at something says that an owner elsewhere may still be writing."""

    has_ended: bool
    note: Mapping[str, str]
    """Tags to write there, for the next look; empty where they stand there already."""


def look(tags: Mapping[str, str], *, silence_s: float = SILENCE_S) -> Look:
    """Look at something by tags alone, for processes that do not live long enough to wait.

    It has ended when a process of this machine met the same sign of life `silence_s` ago. The
    machine's clock that counts from its start is set by nobody. Where it was started anew in
    between, more time has passed than that clock says, never less.

    Args:
        tags: All tags that it has now.
        silence_s: How long its claim must have stayed the same.
    """
    sign = hashlib.sha256(tags.get(CLAIM_TAG, "").encode()).hexdigest()[:16]
    where = hashlib.sha256((_this_start() or socket.gethostname()).encode()).hexdigest()[:8]
    key, now = f"{SEEN_TAG}.{where}", round(time.monotonic())
    try:
        before, since = json.loads(tags.get(key, ""))
        age_s = now - since
    except (TypeError, ValueError):
        before, age_s = "", -1
    if before != sign or age_s < 0:
        return Look(has_ended=False, note={key: json.dumps([sign, now])})
    return Look(has_ended=age_s > silence_s, note={})


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

    def is_at_an_end(self, name: str, tags: Mapping[str, str]) -> bool:
        """Whether nobody writes something any more, as far as can be told by now."""
        in_flight = is_in_flight(tags)
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
