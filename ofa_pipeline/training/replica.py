"""Networks that compute gradients with the weights of another."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ofa_pipeline.supernet import ElasticBatchNorm
from ofa_pipeline.training.precision import rounded_parameters


class Replica:
    """A network with parameters of its own and the weights of the original.

    Every thread needs one: torch takes a lock of a parameter and then waits for Python's, so two
    threads at one parameter may wait forever.
    """

    def __init__(self, network: nn.Module, *, is_rounded: bool = False) -> None:
        """Share the memory of the original's weights, or round them.

        Args:
            network: The original.
            is_rounded: Hold a bfloat16 copy of the weights that mixed precision would round in
                every pass anyway: `refresh` rounds all of them at once, for all subnets of a step.
        """
        rounded = {id(p) for p in rounded_parameters(network)} if is_rounded else set()
        self._originals: list[Tensor] = []
        self._copies: list[Tensor] = []
        shared: dict[int, object] = {id(buffer): buffer for buffer in network.buffers()}
        for parameter in network.parameters():
            values = parameter.detach()
            if id(parameter) in rounded:
                values = values.to(torch.bfloat16)
                self._originals.append(parameter.detach())
                self._copies.append(values)
            shared[id(parameter)] = nn.Parameter(values, parameter.requires_grad)
        self.network = copy.deepcopy(network, shared).train()
        """In training mode, whatever happens to the original's."""
        self.parameters = list(self.network.parameters())
        """In the order of the original's."""

    def share_statistics(self, images: int | None) -> None:
        """Let batch norms compute groups of so many images in one pass; None: all of a batch."""
        for module in self.network.modules():
            if isinstance(module, ElasticBatchNorm):
                module.images_per_group = images

    def refresh(self) -> None:
        """Round the original's weights again, which an update has changed."""
        if self._copies:
            torch._foreach_copy_(self._copies, self._originals)


def add_gradients(totals: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Add gradients to their totals, as many as possible in one operation; None adds nothing.

    On CUDA one operation takes tensors of one type and equal strides, and otherwise becomes one a
    tensor, for the whole list. So strides of dimensions of one entry, which mean nothing, are made
    equal, bfloat16 is widened first, all at once, and what lies otherwise is not in the list.
    """
    held: list[Tensor] = []
    added: list[Tensor] = []
    for total, gradient in zip(totals, gradients, strict=True):
        if gradient is None:
            continue
        if not _lie_alike(total, gradient):
            total.add_(gradient)
            continue
        held.append(total)
        added.append(gradient.as_strided(total.shape, total.stride()))
    if any(total.dtype != gradient.dtype for total, gradient in zip(held, added, strict=True)):
        wide = [torch.empty_like(total) for total in held]
        torch._foreach_copy_(wide, added)
        added = wide
    if held:
        torch._foreach_add_(held, added)


def _lie_alike(one: Tensor, other: Tensor) -> bool:
    """Return whether equal places of two tensors of one shape are equally far apart in memory."""
    strides = zip(one.shape, one.stride(), other.stride(), strict=True)
    return all(size == 1 or here == there for size, here, there in strides)
