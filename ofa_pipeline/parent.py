"""Processes that end with the one that they work for, however that ends: nothing is left behind."""

import os
import signal
import sys
import threading

import psutil

from ofa_pipeline.exit_codes import EXIT_TERMINATED

_POLL_S = 1.0
_GRACE_S = 60.0
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "fish", "ksh"})


def end_with_parent(parent_pid: int, *, grace_s: float | None = None) -> None:
    """End this process, as SIGTERM would, once its parent is gone.

    Args:
        parent_pid: The parent, in its own words: one that died meanwhile is nobody's parent.
        grace_s: Seconds from the signal to an end without ceremony; None: it may take any time.
    """
    parent = psutil.Process().parent()
    if parent is None or parent.pid != parent_pid:
        sys.exit(EXIT_TERMINATED)  # it died before we looked
    _end_with(parent, grace_s=grace_s)


def end_with_runner() -> None:
    """End this process, as SIGTERM would, once the DVC that started it is gone.

    DVC leaves its commands running when it is killed, and a stage must never write beside its
    successor: one that is deaf to the signal is ended after a minute. Does nothing for a stage
    that somebody started by hand.
    """
    if "DVC_STAGE" not in os.environ:
        return
    # Shells between DVC and us are not the one who waits for the result.
    for runner in psutil.Process().parents():
        if runner.name() not in _SHELLS:
            _end_with(runner, grace_s=_GRACE_S)
            return


def _end_with(process: psutil.Process, *, grace_s: float | None) -> None:
    threading.Thread(target=_watch, args=(process, grace_s), daemon=True).start()


def _watch(process: psutil.Process, grace_s: float | None) -> None:
    pause = threading.Event()
    while _is_alive(process):
        pause.wait(_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    pause.wait(grace_s)
    os._exit(EXIT_TERMINATED)  # deaf to the signal: in a long call outside Python


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False  # it ended between the two questions
