"""Calls before a network is timed: until it gets no faster, and no more than a limit.

Folders that are measured elsewhere carry this file: it works on Python 3.9.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

FASTER = 0.03
"""A call that is faster than all before it by more than this share says that it still warms up."""
MAX_WARM_UP = 10
"""Calls, at most, as a multiple of those that it takes where nothing gets faster."""


class WarmUp(NamedTuple):
    """What the calls before the first timed one came to."""

    fastest_ms: float
    is_warm: bool
    """False if calls still became faster when the limit was reached."""


def warm_up(
    call: Callable[[], None], *, calls: int, wall_ns: Callable[[], int] = time.perf_counter_ns
) -> WarmUp:
    """Call a network until some calls in a row were no faster than those before.

    Args:
        call: Calls it once.
        calls: How many in a row; at most `MAX_WARM_UP` times as many are made.
        wall_ns: The clock.
    """
    fastest_ms = settled_ms = math.inf
    num_no_faster = 0
    for _ in range(MAX_WARM_UP * calls):
        begin_ns = wall_ns()
        call()
        latency_ms = (wall_ns() - begin_ns) / 1e6
        fastest_ms = min(fastest_ms, latency_ms)
        if latency_ms < (1 - FASTER) * settled_ms:
            settled_ms, num_no_faster = latency_ms, 0
        else:
            num_no_faster += 1
        if num_no_faster == calls:
            return WarmUp(fastest_ms, is_warm=True)
    return WarmUp(fastest_ms, is_warm=False)
