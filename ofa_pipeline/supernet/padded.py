"""Every subnet of a space as one computation of static shape: masks instead of slices.

A sliced subnet has tensors of its own sizes, so no two are the same computation, and a GPU is told
of every small kernel anew. Padded, the sizes are values: all subnets of one image size are one
sequence of kernels, which can be recorded once.

The masks are laid on weights, never on features: what a weight of zero multiplies is as good as
absent, and its gradient is zero. So it costs no more than the largest subnet.

Legend: N batch, C channels, H W pixels, K kernel size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ofa_pipeline.arch import Arch, expanded_channels, squeezed_channels
from ofa_pipeline.supernet.blocks import ElasticMBConv, activate
from ofa_pipeline.supernet.depthwise import depthwise_conv2d
from ofa_pipeline.supernet.dropout import dropout
from ofa_pipeline.supernet.elastic_ops import (
    ElasticDepthwiseConv,
    ElasticSqueezeExcite,
    convolve,
)
from ofa_pipeline.supernet.network import MBConvSupernet


@dataclass(frozen=True, slots=True, eq=False)
class BlockMask:
    """What an architecture has of a block: 1 for what is there, 0 for what is not."""

    presence: Tensor
    """Shape (1,)."""
    kernels: Tensor
    """One of the kernel sizes, smallest first."""
    channels: Tensor
    """Of the expanded features."""
    hidden: Tensor
    """Units of squeeze-excite; empty without."""


class PaddedSupernet:
    """A supernet of MBConv blocks as a function of images and the masks of an architecture."""

    def __init__(self, supernet: MBConvSupernet) -> None:
        """Compute with the parameters of a supernet."""
        self._supernet = supernet
        self._blocks = [
            [block for block in group if isinstance(block, ElasticMBConv)]
            for group in supernet.groups
            if isinstance(group, nn.ModuleList)
        ]
        for group, of in zip(self._blocks, supernet.space.block_groups, strict=True):
            optional = group[min(of.depths) :]
            assert all(block.shape.has_shortcut for block in optional)  # absent: features pass by

    def values(self, arch: Arch) -> Tensor:
        """Return the masks of an architecture one after the other: float32, on the CPU.

        Raises:
            ArchError: If the architecture is not of the space.
        """
        self._supernet.space.check(arch)
        kernel_sizes, expand_ratios = iter(arch.kernel_sizes), iter(arch.expand_ratios)
        parts: list[NDArray[np.float32]] = []
        for group, depth in zip(self._blocks, arch.depths, strict=True):
            for place, block in enumerate(group):
                if place < depth:
                    parts += _values(block, next(kernel_sizes), next(expand_ratios))
                else:
                    parts += [np.zeros(size, np.float32) for size in _sizes(block)]
        return torch.from_numpy(np.concatenate(parts))

    def __call__(self, images: Tensor, values: Tensor) -> Tensor:
        """Classify images with one architecture.

        Args:
            images: Shape (N, 3, H, W), normalized.
            values: What `values` returned of the architecture, on the device of the images.

        Returns:
            Logits, shape (N, classes): those of the supernet's `forward`, up to rounding.
        """
        supernet, masks = self._supernet, self._masks(values)
        x = images.contiguous(memory_format=torch.channels_last)
        x = supernet.first_block(supernet.stem(x), kernel_size=3, expand_ratio=1)
        for group in self._blocks:
            for block in group:
                x = _block(block, x, next(masks))
        x = supernet.final(x).mean((2, 3))
        if supernet.feature_mix is not None:
            x = activate(supernet.feature_mix(x), supernet.head_activation)
        x = dropout(x, supernet.dropout, training=supernet.training)
        logits: Tensor = supernet.classifier(x)
        return logits

    def _masks(self, values: Tensor) -> Iterator[BlockMask]:
        values = values.to(self._supernet.stem.conv.weight.dtype)
        sizes = [size for group in self._blocks for block in group for size in _sizes(block)]
        parts = iter(torch.split(values, sizes))
        for presence in parts:
            yield BlockMask(presence, next(parts), next(parts), next(parts))


def _sizes(block: ElasticMBConv) -> Sequence[int]:
    """Return the lengths of the fields of a block's mask."""
    conv = block.depthwise.conv
    hidden = 0 if block.se is None else block.se.expand.weight.shape[1]
    return 1, len(conv.kernel_sizes), conv.weight.shape[0], hidden


def _values(
    block: ElasticMBConv, kernel_size: int, expand_ratio: float
) -> list[NDArray[np.float32]]:
    """Return the fields of the mask of a block that is there."""
    presence, kernels, channels, hidden = (np.zeros(size, np.float32) for size in _sizes(block))
    used = expanded_channels(block.shape.in_channels, expand_ratio)
    presence[:] = 1
    kernels[block.depthwise.conv.kernel_sizes.index(kernel_size)] = 1
    channels[:used] = 1
    hidden[: squeezed_channels(used)] = 1
    return [presence, kernels, channels, hidden]


def _block(block: ElasticMBConv, x: Tensor, mask: BlockMask) -> Tensor:
    """Transform (N, C, H, W) as `ElasticMBConv.forward` does with the sizes of the mask."""
    y: Tensor = x if block.expand is None else block.expand(x)
    depthwise = block.depthwise
    kernel = _kernel(depthwise.conv, mask.kernels)
    y = depthwise.norm(depthwise_conv2d(y, kernel, stride=depthwise.conv.stride))
    y = activate(y, depthwise.activation)
    if block.se is not None:
        y = _squeeze_excite(block.se, y, mask)
    weight = block.project.conv.weight * mask.channels[:, None, None]
    y = block.project.norm(convolve(y, weight))
    if not block.shape.has_shortcut:
        return y
    return torch.addcmul(x, y, mask.presence[:, None, None])


def _kernel(conv: ElasticDepthwiseConv, chosen: Tensor) -> Tensor:
    """Return the chosen kernels in the middle of the largest, shape (C, 1, K, K)."""
    largest = conv.kernel_sizes[-1]
    total: Tensor = conv.weight * chosen[-1]
    for place, (size, kernel) in enumerate(conv.smaller_kernels(), 2):
        margin = (largest - size) // 2
        total = total + F.pad(kernel * chosen[-place], [margin] * 4)
    return total


def _squeeze_excite(se: ElasticSqueezeExcite, x: Tensor, mask: BlockMask) -> Tensor:
    """Scale the channels of (N, C, H, W) by those that are there."""
    pooled = x.mean((2, 3))
    hidden = F.relu(F.linear(pooled, se.reduce.weight * mask.channels, se.reduce.bias))
    scale = F.hardsigmoid(F.linear(hidden, se.expand.weight * mask.hidden, se.expand.bias))
    return x * scale[:, :, None, None]
