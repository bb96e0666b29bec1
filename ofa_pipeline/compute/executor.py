"""What works on many items, wherever that is."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar


class Item(Protocol):
    """A piece of work: a plain value that pickle can carry to another process."""

    @property
    def key(self) -> str:
        """Name of the item among all of them, for notes and error messages."""
        ...


ItemT = TypeVar("ItemT", bound=Item)
ResultT = TypeVar("ResultT")


class Executor(Protocol):
    """Works on many items, several at the same time where it can.

    Results depend on the item alone, never on where it is computed or on what came before it.
    """

    @property
    def has_processes(self) -> bool:
        """Whether items are computed in other processes than this one."""
        ...

    def run(
        self, build: Callable[[], Callable[[ItemT], ResultT]], items: Sequence[ItemT]
    ) -> Iterator[tuple[ItemT, ResultT]]:
        """Yield each item with its result as they are finished, in any order.

        Whoever stops early leaves the items that have not begun undone.

        Args:
            build: Returns what computes one item. It is called once in each process that works,
                and only where there is an item, so it loads what all items need. What it returns
                is used by several threads at the same time. An executor with other processes
                carries `build` to them with pickle.
            items: What to work on.

        Raises:
            Exception: What the work on an item raised, with a note that names the item.
        """
        ...
