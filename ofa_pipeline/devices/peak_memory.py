"""Memory of this process, as the system counts it; folders that are measured elsewhere carry it."""

import re
from pathlib import Path


def forget_peak_memory() -> bool:
    """Let the peak begin at what this process holds now; tell whether the system can do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_memory_bytes() -> "int | None":
    """Return the most memory that was resident since then; None where the system does not say."""
    path = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", path.read_text()) if path.exists() else None
    return 1024 * int(found[1]) if found else None
