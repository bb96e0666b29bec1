"""Keeps away what disturbs a measurement in a process of its own.

Folders that are measured elsewhere carry this file: it works on Python 3.9.
"""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path


class Quiet:
    """Keeps what disturbs away: no garbage is collected, one thread stays on the idlest core."""

    def __init__(self, threads: int) -> None:
        """Disturb nothing yet."""
        self._pins = threads == 1 and hasattr(os, "sched_setaffinity")
        self._cores: set[int] = set()

    def __enter__(self) -> None:
        """Pin the thread."""
        gc.disable()
        if self._pins:
            self._cores = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {idlest_core(self._cores)})

    def __exit__(self, *_: object) -> None:
        """Put everything back."""
        gc.enable()
        if self._pins:
            os.sched_setaffinity(0, self._cores)


def idlest_core(allowed: set[int]) -> int:
    """Return the core that was idle for most of some milliseconds."""
    before = idle_times()
    time.sleep(0.03)
    after = idle_times()
    return max(sorted(allowed), key=lambda core: after.get(core, 0) - before.get(core, 0))


def idle_times() -> dict[int, int]:
    """Return how long each core was idle, where the system says it."""
    path = Path("/proc/stat")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    fields = [line.split() for line in lines if line.startswith("cpu") and line[3:4].isdigit()]
    return {int(words[0][3:]): int(words[4]) for words in fields}
