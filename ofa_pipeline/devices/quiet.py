"""A quiet place to measure in: one core, no garbage collection, nobody else measuring."""

import gc
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock

from ofa_pipeline.temporary import temporary_root

OBSERVATION_S = 0.03
"""How long the load of the cores is watched before one is chosen."""


@contextmanager
def quiet_process(*, threads: int, pinning: Sequence[int] | None = None) -> Iterator[bool]:
    """Hold what disturbs a measurement away from it, and put everything back afterwards.

    Measurements take turns on a machine. With one thread the calling thread is pinned to the
    idlest core that it may use, because moving between cores costs more than many layers of a
    small network; several threads are left to the scheduler, or kept on the cores that are named.
    The garbage collector is off.

    Args:
        threads: How many the runtime computes with.
        pinning: Cores that may be used; None: any.

    Yields:
        Whether the thread is pinned; False where the operating system cannot pin.
    """
    with ExitStack() as stack:
        stack.enter_context(FileLock(_turn_file(), mode=0o600))
        stack.enter_context(_no_garbage_collection())
        if pinning is not None and can_pin():
            stack.enter_context(_process_on(pinning))
        is_pinned = threads == 1 and can_pin()
        if is_pinned:
            stack.enter_context(_pinned_to(idlest_core()))
        yield is_pinned


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch compute with a number of threads, and with as many as before afterwards.

    Several threads wait for each other by spinning: on a busy machine a small network that takes
    10 ms with one thread has been seen to take a second with two.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def can_pin() -> bool:
    """Tell whether this operating system lets a thread choose its core."""
    return hasattr(os, "sched_setaffinity")


def allowed_cores() -> set[int]:
    """Return the cores that this thread may use; none where the system lets nobody choose."""
    return os.sched_getaffinity(0) if can_pin() else set()


def idlest_core() -> int:
    """Return the core, of those that this thread may use, that is idle for most of the time."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) == 1:
        return allowed[0]
    before = psutil.cpu_times(percpu=True)
    time.sleep(OBSERVATION_S)
    after = psutil.cpu_times(percpu=True)
    idle = [end.idle - start.idle for start, end in zip(before, after, strict=True)]
    return max((core for core in allowed if core < len(idle)), key=lambda core: idle[core])


@contextmanager
def _process_on(cores: Sequence[int]) -> Iterator[None]:
    """Keep all threads on some cores, those of pools that runtimes have made already as well."""
    before: dict[int, set[int]] = {}
    for thread in psutil.Process().threads():
        with suppress(ProcessLookupError):
            before[thread.id] = os.sched_getaffinity(thread.id)
            os.sched_setaffinity(thread.id, cores)
    try:
        yield
    finally:
        for number, allowed in before.items():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(number, allowed)


@contextmanager
def _pinned_to(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _turn_file() -> Path:
    """Return the file of a uid, not of a name: names are inherited from others, or missing."""
    return temporary_root() / f"ofa-pipeline-measuring-{os.getuid()}.lock"
