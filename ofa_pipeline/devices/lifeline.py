"""A process that the kernel ends with the one that started it, in whatever call it hangs.

A thread that looks for the parent does not run while a library holds Python's lock, as some do for
a whole call of a network. So the kernel watches: both share a pipe, nobody writes to it, and its
only writing end goes when the parent does, however that ends.
"""

import fcntl
import os
import select
import signal
import sys
import threading

from ofa_pipeline.exit_codes import EXIT_TERMINATED


def end_when_closed(pipe: int) -> None:
    """Have this process killed once the writing end of a pipe is closed.

    Only Linux lets the kernel do that. Elsewhere a thread does, for what leaves it Python's lock.

    Args:
        pipe: File descriptor of the reading end; it stays open.
    """
    if sys.platform == "linux":
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([pipe], [], [], 0)[0]:  # closed before the kernel watched
            os._exit(EXIT_TERMINATED)
    else:
        threading.Thread(target=_watch, args=(pipe,), daemon=True).start()


def _watch(pipe: int) -> None:
    os.read(pipe, 1)
    os._exit(EXIT_TERMINATED)
