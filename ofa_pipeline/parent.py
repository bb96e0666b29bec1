"""A stage whose DVC was killed ends too, so that it never writes beside its successor."""

import os
import signal
import threading

import psutil

_POLL_S = 1.0
_GRACE_S = 60.0
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "fish", "ksh"})


def end_with_runner() -> None:
    """End this process, as SIGTERM would, once the DVC that started it is gone.

    DVC leaves its commands running when it is killed. Does nothing for a stage that somebody
    started by hand.
    """
    if "DVC_STAGE" not in os.environ:
        return
    # Shells between DVC and us are not the one who waits for the result.
    for runner in psutil.Process().parents():
        if runner.name() not in _SHELLS:
            threading.Thread(target=_watch, args=(runner,), daemon=True).start()
            return


def _watch(runner: psutil.Process) -> None:
    pause = threading.Event()
    while runner.is_running() and runner.status() != psutil.STATUS_ZOMBIE:
        pause.wait(_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    pause.wait(_GRACE_S)
    os._exit(128 + signal.SIGTERM)  # deaf to the signal: in a long call outside Python
