"""Tiny networks with weights that make every layer matter."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ofa_pipeline.arch import Arch, MBConvBackbone, ResNetBackbone, SearchSpace
from ofa_pipeline.spaces import mobilenet_v3_small_images, resnet50
from ofa_pipeline.supernet import Supernet, build_supernet

NUM_CLASSES = 5


def tiny_space() -> SearchSpace:
    """Return two block groups with squeeze-excite in the second, for images of 8 and 12 px."""
    return mobilenet_v3_small_images(
        stem_stride=1,
        stem_channels=8,
        group_channels=[16, 24],
        group_strides=[2, 2],
        head_channels=(32, 40),
        resolutions_px=[8, 12],
        depths=[1, 2],
        kernel_sizes=[3, 5, 7],
        expand_ratios=[2.0, 3.0, 4.0],
    )


def tiny_space_without_mix() -> SearchSpace:
    """Return the same with ReLU6 and without a feature mix, as ProxylessNAS is."""
    space = tiny_space()
    assert isinstance(space.backbone, MBConvBackbone)
    return replace(
        space,
        space_id="tiny_without_mix",
        block_groups=tuple(replace(group, activation="relu6") for group in space.block_groups),
        backbone=replace(space.backbone, feature_mix_channels=None, head_activation="relu6"),
    )


def tiny_resnet_space() -> SearchSpace:
    """Return the ResNet50-D space with few channels."""
    full = resnet50()
    groups = tuple(
        replace(group, out_channels=max(group.out_channels // 32, 16))
        for group in full.block_groups
    )
    return replace(
        full,
        space_id="tiny_resnet",
        block_groups=groups,
        backbone=ResNetBackbone(stem_channels=16),
    )


def random_supernet(space: SearchSpace, *, dropout: float = 0.0, seed: int = 0) -> Supernet:
    """Return a supernet in evaluation mode whose every parameter and statistic is random."""
    supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=dropout, seed=seed)
    randomize(supernet, seed=seed)
    return supernet.eval()


@torch.no_grad()
def randomize(network: nn.Module, *, seed: int) -> None:
    """Draw what initialization leaves constant: batch norm, biases, kernel transforms."""
    generator = torch.Generator().manual_seed(seed + 1)
    for name, tensor in network.state_dict().items():
        if ".transforms." in name:
            tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.1)
        elif name.endswith(("norm.weight", "running_var")):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif name.endswith(("bias", "running_mean")):
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))


def random_images(*, count: int = 4, side_px: int = 12, seed: int = 0) -> Tensor:
    """Return images of shape (count, 3, side, side)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, side_px, side_px, generator=generator)


def random_archs(space: SearchSpace, count: int, *, seed: int = 0) -> list[Arch]:
    """Return the largest, the smallest and `count` random architectures."""
    drawn = space.archs(space.sample(np.random.default_rng(seed), count))
    return [space.largest, space.smallest, *drawn]
