"""What else a machine does.

Folders that are measured elsewhere carry this file: it works on Python 3.9.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

WATCH_S = 1.0
"""How long the cores are watched."""


def busy_cores(*, watch_s: float = WATCH_S, path: Path = Path("/proc/stat")) -> float | None:
    """Return how many cores other programs keep busy; None where the system does not say.

    This process sleeps meanwhile. Where the times of the cores cannot be read, it is the load of
    the last minute.

    Args:
        watch_s: How long the cores are watched, in seconds.
        path: What Linux says of them; another file in tests.
    """
    before = _times(path)
    if before is None:
        return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    time.sleep(watch_s)
    after = _times(path) or before
    idle, every = after[0] - before[0], after[1] - before[1]
    return (os.cpu_count() or 1) * (1 - idle / every) if every > 0 else 0.0


def _times(path: Path) -> tuple[int, int] | None:
    """Return how long all cores were idle, and how long they were there."""
    try:
        words = path.read_text(encoding="utf-8").splitlines()[0].split()
    except (OSError, IndexError):
        return None
    times = [int(word) for word in words[1:9]]  # what guests take is in that of users
    return times[3] + times[4], sum(times)
