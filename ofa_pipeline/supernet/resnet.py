"""The elastic ResNet50-D: depth, expand ratio and width are arguments of `forward`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ofa_pipeline.arch import (
    Arch,
    BlockGroup,
    ResNetBackbone,
    SearchSpace,
    expanded_channels,
    group_channels,
    inner_stem_channels,
    stem_channels,
)
from ofa_pipeline.supernet.blocks import ElasticConvNorm, activate
from ofa_pipeline.supernet.dropout import drop_connect, drop_connect_rates, dropout
from ofa_pipeline.supernet.elastic_ops import ElasticConv, ElasticLinear


class ElasticBottleneck(nn.Module):
    """ResNet-D bottleneck: 1x1, 3x3, 1x1; its shortcut averages, then convolves 1x1.

    Source:
        He et al. 2019 (arXiv:1812.01187), figure 2(c), as the reference builds it.
    """

    def __init__(self, in_channels: int, group: BlockGroup, *, is_first: bool, eps: float) -> None:
        """Hold the layers of the largest sizes."""
        super().__init__()
        out = group_channels(group, 1.0)
        middle = expanded_channels(out, group.expand_ratios[-1])
        self.stride = group.stride if is_first else 1
        self.activation = group.activation
        self.conv1 = ElasticConvNorm(
            ElasticConv(in_channels, middle), bn_eps=eps, activation=group.activation
        )
        self.conv2 = ElasticConvNorm(
            ElasticConv(middle, middle, kernel_size=3, stride=self.stride),
            bn_eps=eps,
            activation=group.activation,
        )
        self.conv3 = ElasticConvNorm(ElasticConv(middle, out), bn_eps=eps, activation=None)
        self.downsample: ElasticConvNorm | None = None
        if is_first:
            conv = ElasticConv(in_channels, out)
            self.downsample = ElasticConvNorm(conv, bn_eps=eps, activation=None)

    def forward(
        self, x: Tensor, *, out_channels: int, expand_ratio: float, drop_rate: float = 0.0
    ) -> Tensor:
        """Transform (N, C, H, W) with the sizes that the architecture gives this block.

        Args:
            x: The input.
            out_channels: Of the group, at the width of the architecture.
            expand_ratio: Of the inner width.
            drop_rate: Share of the images that the shortcut alone passes, in training mode.
        """
        middle = expanded_channels(out_channels, expand_ratio)
        y = self.conv2(self.conv1(x, out_channels=middle), out_channels=middle)
        y = self.conv3(y, out_channels=out_channels)
        shortcut = x
        if self.downsample is not None:
            if self.stride > 1:
                shortcut = F.avg_pool2d(shortcut, self.stride, ceil_mode=True)
            shortcut = self.downsample(shortcut, out_channels=out_channels)
        y = drop_connect(y, drop_rate, training=self.training)
        return activate(y + shortcut, self.activation)


class ResNetSupernet(nn.Module):
    """Every architecture of the ResNet50-D space; the architecture is an argument of `forward`.

    Batch norm behaves as in `MBConvSupernet`: training uses the batch and leaves the buffers
    alone, evaluation uses the buffers.

    Attributes:
        space: The search space. Block group 0 is the residual block inside the stem.
        num_classes: Length of the logits.
        dropout: Probability before the classifier, in training mode.
    """

    def __init__(self, space: SearchSpace, *, num_classes: int, dropout: float = 0.0) -> None:
        """Build the layers, without choosing their weights; see `build_supernet`."""
        super().__init__()
        backbone = space.backbone
        assert isinstance(backbone, ResNetBackbone)
        self.space, self.num_classes, self.dropout = space, num_classes, dropout
        stem_group, *groups = space.block_groups
        eps, activation = backbone.bn_eps, stem_group.activation
        inner, stem = inner_stem_channels(backbone, 1.0), stem_channels(backbone, 1.0)
        self.stem_in = ElasticConvNorm(
            ElasticConv(3, inner, kernel_size=3, stride=2), bn_eps=eps, activation=activation
        )
        self.stem_out = ElasticConvNorm(
            ElasticConv(inner, stem, kernel_size=3), bn_eps=eps, activation=activation
        )
        stem_blocks = [
            ElasticConvNorm(
                ElasticConv(inner, inner, kernel_size=3), bn_eps=eps, activation=activation
            )
            for _ in range(stem_group.max_depth)
        ]
        self.groups = nn.ModuleList([nn.ModuleList(stem_blocks)])
        channels = stem
        for group in groups:
            blocks = nn.ModuleList()
            for index in range(group.max_depth):
                blocks.append(ElasticBottleneck(channels, group, is_first=index == 0, eps=eps))
                channels = group_channels(group, 1.0)
            self.groups.append(blocks)
        self.classifier = ElasticLinear(channels, num_classes)

    def forward(self, images: Tensor, arch: Arch) -> Tensor:
        """Classify images with one architecture.

        Args:
            images: Shape (N, 3, H, W), normalized, of any size.
            arch: An architecture of this space.

        Returns:
            Logits, shape (N, classes).

        Raises:
            ArchError: If the architecture is not of the space.
        """
        self.space.check(arch)
        backbone = self.space.backbone
        assert isinstance(backbone, ResNetBackbone)
        inner_width, stem_width, *widths = arch.width_multipliers
        inner = inner_stem_channels(backbone, inner_width)
        x = images.contiguous(memory_format=torch.channels_last)
        x = self.stem_in(x, out_channels=inner)
        for block in list(self.groups[0].children())[: arch.depths[0]]:
            x = x + block(x, out_channels=inner)
        x = self.stem_out(x, out_channels=stem_channels(backbone, stem_width))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        rates = drop_connect_rates(arch.depths)
        sizes = iter(list(zip(arch.expand_ratios, rates, strict=True))[arch.depths[0] :])
        shapes = zip(self.groups, self.space.block_groups, arch.depths, strict=True)
        for (blocks, group, depth), width in zip(list(shapes)[1:], widths, strict=True):
            out = group_channels(group, width)
            for block in list(blocks.children())[:depth]:
                ratio, rate = next(sizes)
                x = block(x, out_channels=out, expand_ratio=ratio, drop_rate=rate)
        x = dropout(x.mean((2, 3)), self.dropout, training=self.training)
        logits: Tensor = self.classifier(x)
        return logits
