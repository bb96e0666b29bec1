"""Build supernets and subnets with random weights."""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from ofa_pipeline.arch import Arch, MBConvBackbone, SearchSpace
from ofa_pipeline.supernet.blocks import ElasticMBConv
from ofa_pipeline.supernet.network import MBConvSupernet
from ofa_pipeline.supernet.resnet import ElasticBottleneck, ResNetSupernet
from ofa_pipeline.supernet.resnet_subnet import ResNetSubnet
from ofa_pipeline.supernet.subnet import MBConvSubnet

Supernet = MBConvSupernet | ResNetSupernet
Subnet = MBConvSubnet | ResNetSubnet
Network = TypeVar("Network", bound=nn.Module)


def build_supernet(
    space: SearchSpace, *, num_classes: int, dropout: float = 0.0, seed: int = 0
) -> Supernet:
    """Build a supernet with random weights, in training mode.

    Args:
        space: What is elastic, and the network around it.
        num_classes: Length of the logits.
        dropout: Probability before the classifier.
        seed: Seed of the weights.
    """
    network = empty_supernet(space, num_classes=num_classes, dropout=dropout)
    return initialize(network, seed=seed)


def build_subnet(
    space: SearchSpace, arch: Arch, *, num_classes: int, dropout: float = 0.0, seed: int = 0
) -> Subnet:
    """Build a subnet with random weights, in evaluation mode: for latency, or from scratch.

    Args:
        space: The space that the architecture is of.
        arch: The architecture.
        num_classes: Length of the logits.
        dropout: Probability before the classifier.
        seed: Seed of the weights.

    Raises:
        ArchError: If the architecture is not of the space.
    """
    network = empty_subnet(space, arch, num_classes=num_classes, dropout=dropout)
    return initialize(network, seed=seed).eval()


@torch.no_grad()
def zero_last_scales(supernet: Supernet) -> None:
    """Let residual blocks begin as the identity: their last batch norm scales with zero.

    Of a block with a shortcut whose last batch norm has no activation behind it; behind a ReLU, as
    in a ResNet's stem, a zero would never learn.

    Args:
        supernet: With random weights, changed in place.

    Source:
        Goyal et al. 2017 (arXiv:1706.02677), section 5.1.
    """
    for block in supernet.modules():
        if isinstance(block, ElasticMBConv) and block.shape.has_shortcut:
            block.project.norm.weight.zero_()
        elif isinstance(block, ElasticBottleneck):
            block.conv3.norm.weight.zero_()


def empty_supernet(space: SearchSpace, *, num_classes: int, dropout: float) -> Supernet:
    """Build a supernet on the meta device: shapes without memory."""
    with torch.device("meta"):
        if isinstance(space.backbone, MBConvBackbone):
            return MBConvSupernet(space, num_classes=num_classes, dropout=dropout)
        return ResNetSupernet(space, num_classes=num_classes, dropout=dropout)


def empty_subnet(space: SearchSpace, arch: Arch, *, num_classes: int, dropout: float) -> Subnet:
    """Build a subnet on the meta device: shapes without memory.

    Raises:
        ArchError: If the architecture is not of the space.
    """
    with torch.device("meta"):
        if isinstance(space.backbone, MBConvBackbone):
            return MBConvSubnet(space, arch, num_classes=num_classes, dropout=dropout)
        return ResNetSubnet(space, arch, num_classes=num_classes, dropout=dropout)


def initialize(network: Network, *, seed: int) -> Network:
    """Give a network on the meta device memory on the CPU and random weights.

    Convolutions are drawn from N(0, 2 / fan_out). The reference counts the fan-out of a
    depthwise convolution over all its channels, which makes the initial weights too small by the
    square root of their number; here it is that of the group. Kernel transforms start as the
    identity, batch norm as no change, the classifier uniform within 1/sqrt(fan_in).

    Args:
        network: Built on the meta device; elastic or plain, with the names of this package.
        seed: Seed of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    # Not Module.to_empty: that imports torch's compiler, which takes seconds.
    state = {
        name: _draw(name, tensor, generator).to(tensor.dtype)
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(state, assign=True)
    return network.to(memory_format=torch.channels_last)


def _draw(name: str, meta: Tensor, generator: torch.Generator) -> Tensor:
    if ".transforms." in name:
        return torch.eye(meta.shape[0])
    if meta.ndim <= 1:
        is_one = name.endswith(("norm.weight", "running_var"))
        return torch.full(meta.shape, 1.0 if is_one else 0.0)
    if name == "classifier.weight":
        bound = 1 / math.sqrt(meta.shape[1])
        return torch.empty(meta.shape).uniform_(-bound, bound, generator=generator)
    is_depthwise = meta.ndim == 4 and meta.shape[1] == 1  # noqa: PLR2004 - (C, 1, K, K)
    fan_out = (1 if is_depthwise else meta.shape[0]) * math.prod(meta.shape[2:])
    return torch.empty(meta.shape).normal_(0, math.sqrt(2 / fan_out), generator=generator)
