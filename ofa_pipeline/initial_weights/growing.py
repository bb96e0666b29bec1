"""Grow a subnet to the largest of a space, so that it computes what it did before."""

import torch
from torch import Tensor, nn

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.supernet import Subnet, build_supernet

_DEPTHWISE = "depthwise.conv.weight"
_READERS = ("project.conv.weight", "se.reduce.weight", "se.expand.weight")
"""What reads channels or hidden units that are added: with zeros, they change nothing."""


@torch.no_grad()
def grow_subnet(subnet: Subnet, space: SearchSpace, *, seed: int) -> dict[str, Tensor]:
    """Return weights for a supernet whose largest subnet computes what a subnet does.

    Small kernels lie in the middle of large ones, with zeros around. Channels that are added have
    random weights, and whatever reads them reads them with zero. Blocks that are added end in a
    batch norm of scale zero, so that only their shortcut counts; both learn from the first step.

    Args:
        subnet: With statistics, of the same backbone and block groups, nowhere larger.
        space: What it grows into.
        seed: Seed of the random weights.

    Returns:
        Every entry of the supernet's state, with the classifier of the subnet.

    Source:
        Chen et al. 2016 (arXiv:1511.05641), function-preserving initialization. There added
        channels copy others; here they are random and not read, as training breaks no tie then.
    """
    supernet = build_supernet(space, num_classes=subnet.num_classes, seed=seed)
    given, norms = subnet.state_dict(), _ends_of_blocks(supernet)
    grown: dict[str, Tensor] = {}
    for name, tensor in supernet.state_dict().items():
        if name in given:
            grown[name] = _grown(name, given[name], tensor)
        elif name in norms:
            grown[name] = torch.zeros_like(tensor)
        else:
            grown[name] = tensor
    return grown


def _ends_of_blocks(supernet: nn.Module) -> set[str]:
    """Return the names of the scales of the last batch norm of each block."""
    return {name for name, _ in supernet.named_parameters() if name.endswith("project.norm.weight")}


def _grown(name: str, small: Tensor, large: Tensor) -> Tensor:
    """Return a tensor of the large shape with the small one in it."""
    if small.shape == large.shape:
        return small
    grown = torch.zeros_like(large) if name.endswith(_READERS) else large.clone()
    corner = [slice(size) for size in small.shape]
    if name.endswith(_DEPTHWISE):
        margin = (large.shape[-1] - small.shape[-1]) // 2
        grown[: small.shape[0]] = 0
        corner[2:] = [slice(margin, margin + small.shape[-1])] * 2
    grown[tuple(corner)] = small
    return grown
