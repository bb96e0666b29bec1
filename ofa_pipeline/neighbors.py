"""Which other processes keep this machine busy: whom to name when latencies could not be told."""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

WATCH_S = 1.0
"""How long others are watched."""
LEAST_CORES = 0.05
"""Who takes less disturbs nothing."""
MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A process that computes beside this one."""

    pid: int
    name: str
    cores: float
    """CPU seconds a second."""


def busy_neighbors(*, watch_s: float = WATCH_S) -> tuple[Neighbor, ...]:
    """Return the processes of this machine that compute, the busiest first, as far as we may see.

    This process, those that it started and those that wait for it are left out.

    Args:
        watch_s: Seconds that they are watched.
    """
    me = psutil.Process()
    own = {me.pid, *(item.pid for item in (*me.parents(), *me.children(recursive=True)))}
    watched = [item for item in psutil.process_iter(["name"]) if item.pid not in own]
    before = {item: _cpu_s(item) for item in watched}
    began = time.monotonic()
    time.sleep(watch_s)
    spent_s = time.monotonic() - began
    found = [
        Neighbor(item.pid, item.info["name"] or "?", (_cpu_s(item) - seconds) / spent_s)
        for item, seconds in before.items()
    ]
    busy = [item for item in found if item.cores >= LEAST_CORES]
    return tuple(sorted(busy, key=lambda item: item.cores, reverse=True))


def neighbors_text(neighbors: Sequence[Neighbor]) -> str:
    """Return who computes here now and what to do about it."""
    if not neighbors:
        return (
            "No other process computes here now: try again, or look for what shares the hardware "
            "with this machine."
        )
    named = neighbors[:MOST_NAMED]
    others = len(neighbors) - len(named)
    pids = " ".join(str(item.pid) for item in named)
    return (
        f"Here compute {_listed(named)}{f' and {others} more' if others else ''}. Wait until they "
        f"end, or stop them (they are: ps -fp {pids})."
    )


def _listed(neighbors: Iterable[Neighbor]) -> str:
    return ", ".join(f"{n.name} (process {n.pid}, {n.cores:.1f} cores)" for n in neighbors)


def _cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds of a process; one that has ended, or is hidden, computes nothing."""
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
