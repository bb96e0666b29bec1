"""What a network takes before its first answer: opening it, its first call, and memory.

Folders that are measured elsewhere carry this file: it works on Python 3.9.
"""

from __future__ import annotations

import ctypes
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
"""Where Linux lets a process forget its peak of memory, and tells it."""
Loaded = TypeVar("Loaded")


class FreshLoad(NamedTuple):
    """What loading a network and its first call took, by the clock of the wall."""

    load_ns: int
    first_call_ns: int
    resident_bytes: int | None
    """Memory of this process before; None where the system does not say."""
    peak_bytes: int | None
    """The most until the first call was done."""


def load_afresh(
    load: Callable[[], Loaded],
    call: Callable[[Loaded], None],
    *,
    wall_ns: Callable[[], int] = time.perf_counter_ns,
) -> tuple[Loaded, FreshLoad]:
    """Load a network and call it once.

    What the runtime imports when it opens its first file counts, so open another one before.
    """
    resident_bytes = forget_peak_memory()
    begin_ns = wall_ns()
    loaded = load()
    loaded_ns = wall_ns()
    call(loaded)
    called_ns = wall_ns()
    return loaded, FreshLoad(
        load_ns=loaded_ns - begin_ns,
        first_call_ns=called_ns - loaded_ns,
        resident_bytes=resident_bytes,
        peak_bytes=None if resident_bytes is None else peak_memory_bytes(),
    )


def forget_peak_memory() -> int | None:
    """Give unused memory back to the system, and let the peak begin at what is left.

    Returns:
        The bytes that are resident then; None where the system cannot do that.
    """
    try:
        with CLEAR_REFS.open("w", encoding="ascii") as file:
            library = ctypes.CDLL(None)
            if hasattr(library, "malloc_trim"):  # glibc keeps what was freed otherwise
                library.malloc_trim(0)
            file.write("5")
    except OSError:
        return None
    return peak_memory_bytes()


def peak_memory_bytes() -> int | None:
    """Return the most bytes that were resident since then; None where the system does not say."""
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    return 1024 * int(found[1]) if found else None
