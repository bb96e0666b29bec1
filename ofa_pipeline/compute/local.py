"""Work on this machine: in threads, side by side while torch lets go of the interpreter's lock."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import ClassVar

from ofa_pipeline.compute.device import compute_device
from ofa_pipeline.compute.executor import ItemT, ResultT
from ofa_pipeline.cores import usable_cores


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """Works on this machine's cores.

    Each item is computed with as many threads as torch is set to, whatever the number of workers,
    so the bits of a result do not depend on the number of cores.
    """

    has_processes: ClassVar[bool] = False

    workers: int | None = None
    """Items at the same time; None: as many as the cores allow, see `free_workers`."""

    def run(
        self, build: Callable[[], Callable[[ItemT], ResultT]], items: Sequence[ItemT]
    ) -> Iterator[tuple[ItemT, ResultT]]:
        """Yield each item with its result, see `Executor.run`; `build` is called once."""
        if not items:
            return
        compute = build()
        workers = min(self.workers or free_workers(), len(items))
        if workers == 1:  # in this thread, so that Ctrl-C stops it at once
            for item in items:
                yield item, _computed(compute, item)
            return
        pool = torch_threads(workers, "worker")
        try:
            begun = {pool.submit(_computed, compute, item): item for item in items}
            for future in as_completed(begun):
                yield begun[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


SERIAL = LocalExecutor(workers=1)
"""One item at a time, for what measures the machine itself."""


def free_workers() -> int:
    """Return how many items this machine computes at the same time, at least 1.

    On the CPU as many as its cores allow with torch's threads in each; on CUDA one, because the
    device itself works in parallel.
    """
    import torch

    if compute_device() != "cpu":
        return 1
    return max(1, usable_cores() // torch.get_num_threads())


def torch_threads(workers: int, name: str) -> ThreadPoolExecutor:
    """Return threads that compute as the calling one does, so that results have equal bits.

    How many threads an operation is split over decides how sums are split. OpenMP knows that number
    for each thread apart: what another library told this one is not told to new threads.

    Args:
        workers: How many threads.
        name: What they are called; a number follows.
    """
    import torch

    return ThreadPoolExecutor(
        workers, name, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)
    )


def _computed(compute: Callable[[ItemT], ResultT], item: ItemT) -> ResultT:
    try:
        return compute(item)
    except Exception as error:
        error.add_note(f"It happened while working on {item.key}.")
        raise
