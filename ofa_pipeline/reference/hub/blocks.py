"""The elastic blocks of hub supernets: sizes that are set before, not given with, an image."""

import copy

from torch import Tensor, nn

from ofa_pipeline.arch import (
    Activation,
    BlockGroup,
    MBConvShape,
    expanded_channels,
    group_channels,
)
from ofa_pipeline.reference.hub.elastic import (
    Elastic,
    ElasticBatchNorm,
    ElasticConv,
    ElasticDepthwiseConv,
    ElasticSqueezeExcite,
    PrefixDepthwiseConv2d,
    extract,
    resize,
)
from ofa_pipeline.reference.hub.layers import (
    MBConvLayer,
    ResidualBlock,
    ResNetBottleneckBlock,
    build_activation,
    build_sequence,
)


class Skippable(Elastic):
    """A block that passes its input on while it is not active.

    Attributes:
        group: Number of its block group.
        index: Its place in the group: it is active while that is below the group's depth.
        is_active: Whether it runs.
    """

    group: int
    index: int
    is_active: bool = True


class ElasticResidualBlock(Skippable, ResidualBlock):
    """`ResidualBlock` that may be skipped."""

    def __init__(self, conv: nn.Module, shortcut: nn.Module | None, *, at: tuple[int, int]) -> None:
        """Hold both; `at` is the block group and the place in it."""
        ResidualBlock.__init__(self, conv, shortcut)
        self.group, self.index = at

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, H, W)."""
        return ResidualBlock.forward(self, x) if self.is_active else x

    def extract(self) -> nn.Module:
        """Return `ResidualBlock` of the active sizes."""
        return ResidualBlock(extract(self.conv), copy.deepcopy(self.shortcut))


class ElasticMBConvLayer(Elastic, MBConvLayer):
    """`MBConvLayer` with an active kernel size and expand ratio."""

    def __init__(
        self, shape: MBConvShape, *, kernel_sizes: tuple[int, ...], expand_ratios: tuple[float, ...]
    ) -> None:
        """Hold the layers of the largest sizes, which are active."""
        middle = expanded_channels(shape.in_channels, expand_ratios[-1])
        norm = {"eps": shape.bn_eps, "momentum": shape.bn_momentum}
        bottleneck = None
        if expand_ratios != (1,):
            bottleneck = elastic_conv(
                shape.in_channels, middle, activation=shape.activation, norm=norm
            )
        depth_conv = build_sequence(
            conv=ElasticDepthwiseConv(middle, kernel_sizes, stride=shape.stride),
            bn=ElasticBatchNorm(middle, **norm),
            act=build_activation(shape.activation),
            se=ElasticSqueezeExcite(middle) if shape.use_se else None,
        )
        project = elastic_conv(middle, shape.out_channels, norm=norm)
        MBConvLayer.__init__(self, bottleneck, depth_conv, project)
        self.in_channels = shape.in_channels
        self.active_kernel_size, self.active_expand_ratio = kernel_sizes[-1], expand_ratios[-1]

    def activate(self, *, kernel_size: int, expand_ratio: float) -> None:
        """Make a kernel size and an expand ratio active."""
        self.active_kernel_size, self.active_expand_ratio = kernel_size, expand_ratio
        middle = expanded_channels(self.in_channels, expand_ratio)
        if self.inverted_bottleneck is not None:
            resize(self.inverted_bottleneck, inputs=self.in_channels, outputs=middle)
        resize(self.depth_conv, inputs=middle, outputs=middle)
        resize(self.point_linear, inputs=middle)
        for layer in self.depth_conv.modules():
            if isinstance(layer, PrefixDepthwiseConv2d):
                layer.active_kernel_size = kernel_size

    def extract(self) -> nn.Module:
        """Return `MBConvLayer` of the active sizes."""
        bottleneck = self.inverted_bottleneck
        return MBConvLayer(
            None if bottleneck is None else extract(bottleneck),
            extract(self.depth_conv),
            extract(self.point_linear),
        )


class ElasticBottleneckBlock(Skippable, ResNetBottleneckBlock):
    """`ResNetBottleneckBlock` with an active width and expand ratio, which may be skipped."""

    def __init__(
        self, in_channels: int, group: BlockGroup, *, at: tuple[int, int], norm: dict[str, float]
    ) -> None:
        """Hold the layers of the largest sizes; `at` is the block group and the place in it."""
        out = group_channels(group, 1.0)
        middle = expanded_channels(out, group.expand_ratios[-1])
        act, is_first = group.activation, at[1] == 0
        stride = group.stride if is_first else 1
        convs = (
            elastic_conv(in_channels, middle, activation=act, norm=norm),
            elastic_conv(middle, middle, shape=(3, stride), activation=act, norm=norm),
            elastic_conv(middle, out, norm=norm),
        )
        downsample: nn.Module = nn.Identity()
        if is_first:
            downsample = build_sequence(
                avg_pool=nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else None,
                conv=ElasticConv(in_channels, out),
                bn=ElasticBatchNorm(out, **norm),
            )
        ResNetBottleneckBlock.__init__(self, convs, downsample, build_activation(act))
        self.group, self.index = at
        self.active_expand_ratio, self.active_out_channel = group.expand_ratios[-1], out

    def activate(self, *, in_channels: int, out_channels: int, expand_ratio: float) -> None:
        """Make an expand ratio and the widths at both ends active."""
        self.active_expand_ratio, self.active_out_channel = expand_ratio, out_channels
        middle = expanded_channels(out_channels, expand_ratio)
        resize(self.conv1, inputs=in_channels, outputs=middle)
        resize(self.conv2, inputs=middle, outputs=middle)
        resize(self.conv3, inputs=middle, outputs=out_channels)
        resize(self.downsample, inputs=in_channels, outputs=out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, H, W)."""
        return ResNetBottleneckBlock.forward(self, x) if self.is_active else x

    def extract(self) -> nn.Module:
        """Return `ResNetBottleneckBlock` of the active sizes."""
        convs = extract(self.conv1), extract(self.conv2), extract(self.conv3)
        return ResNetBottleneckBlock(convs, extract(self.downsample), copy.deepcopy(self.final_act))


def elastic_conv(
    in_channels: int,
    out_channels: int,
    *,
    shape: tuple[int, int] = (1, 1),
    activation: Activation | None = None,
    norm: dict[str, float],
) -> nn.Sequential:
    """Return ``conv``, ``bn``, ``act``, elastic; `shape` is the kernel size and the stride."""
    kernel_size, stride = shape
    return build_sequence(
        conv=ElasticConv(in_channels, out_channels, kernel_size=kernel_size, stride=stride),
        bn=ElasticBatchNorm(out_channels, **norm),
        act=None if activation is None else build_activation(activation),
    )
