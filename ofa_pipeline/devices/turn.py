"""Lets one process at a time work with a file.

Folders that are measured elsewhere carry this file: it works on Python 3.9.
"""

from __future__ import annotations

import time
from typing import TextIO


def is_ours(file: TextIO, *, patience_s: int) -> bool:
    """Wait until no other process holds a file, where the system can tell; then hold it.

    Args:
        file: Held until it is closed.
        patience_s: How long to wait, in seconds.

    Returns:
        False if another process goes on holding it.
    """
    try:
        import fcntl
    except ImportError:
        return True
    for _ in range(patience_s):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(1)
        else:
            return True
    return False
