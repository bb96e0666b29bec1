"""Processes that do one piece of work together, as `torch.distributed` joins them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchPart:
    """Which images of a batch are at hand, where several processes share it."""

    start: int
    """Number of the first of them in the batch."""
    batch_size: int
    """Images of the batch."""

    def rows(self, count: int) -> slice:
        """Return the places of `count` images in the batch."""
        return slice(self.start, self.start + count)


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that work together; by default it is alone, and waits for nobody.

    With others, each method is a message to all of them: every process must call the same methods
    in the same order.
    """

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of processes."""

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that reports and saves."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Return which of some things in a row are this process's; each is somebody's."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def add_up(self, tensor: "Tensor") -> None:
        """Replace a tensor by its sum over all processes, with equal bits in each."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(tensor)

    def take_from_first(self, tensor: "Tensor") -> None:
        """Replace a tensor by that of the first process."""
        if self.size > 1:
            import torch.distributed as dist

            held = tensor.contiguous()
            dist.broadcast(held, src=0)
            tensor.copy_(held)

    def value_of_first(self, value: T) -> T:
        """Return the value that the first process has; one that pickle can carry."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]


ALONE = Ranks()
"""One process that does everything."""
