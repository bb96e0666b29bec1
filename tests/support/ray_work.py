"""Work for a Ray cluster that its workers load quickly: without torch, without pytest."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def square(value: int) -> tuple[int, int, int]:
    """Return the square, the process that computed it, and what it was busy with."""
    return value**2, os.getpid(), sum(range(1_000_000))


@dataclass(frozen=True)
class Number:
    """An item that brings its work along."""

    value: int
    do: Callable[[int], Any] = square

    @property
    def key(self) -> str:
        """Name in messages."""
        return f"number {self.value}"


def obey() -> Callable[[Number], Any]:
    """Return what does the work of any item, so that all tests use the same workers."""
    return lambda item: item.do(item.value)
