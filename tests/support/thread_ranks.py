"""Ranks that are threads of one process: what `torch.distributed` does, without its seconds."""

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from ofa_pipeline.compute import Ranks

T = TypeVar("T")


class Meeting:
    """Where the threads of one piece of work exchange values."""

    def __init__(self, size: int) -> None:
        """Expect so many threads."""
        self.size = size
        self._barrier = threading.Barrier(size, timeout=60)
        self._held: list[Any] = [None] * size

    def exchange(self, rank: int, value: T) -> list[T]:
        """Return the values of all threads, in order of their ranks."""
        self._held[rank] = value
        self._barrier.wait()
        held = list(self._held)
        self._barrier.wait()  # before anybody holds the next value
        return held

    def abort(self) -> None:
        """Wake the others: this thread has failed."""
        self._barrier.abort()


@dataclass(frozen=True)
class ThreadRanks(Ranks):
    """A thread among others."""

    meeting: Meeting = field(default_factory=lambda: Meeting(1))

    def add_up(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all threads."""
        tensor.copy_(torch.stack(self.meeting.exchange(self.rank, tensor.clone())).sum(dim=0))

    def take_from_first(self, tensor: Tensor) -> None:
        """Replace a tensor by that of the first thread."""
        tensor.copy_(self.meeting.exchange(self.rank, tensor.clone())[0])

    def value_of_first(self, value: T) -> T:
        """Return a copy of the value of the first thread, as pickle makes one."""
        return copy.deepcopy(self.meeting.exchange(self.rank, value)[0])


def on_ranks(size: int, work: Callable[[Ranks], T]) -> list[T]:
    """Do work in so many threads at the same time; return what each came to."""
    meeting = Meeting(size)

    def of_rank(rank: int) -> T:
        try:
            return work(ThreadRanks(rank, size, meeting))
        except BaseException:
            meeting.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(of_rank, rank) for rank in range(size)]
        errors = [error for future in futures if (error := future.exception())]
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [future.result() for future in futures]
