"""The elastic blocks of the MobileNet family: convolution with batch norm, and MBConv."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ofa_pipeline.arch import Activation, MBConvShape, expanded_channels
from ofa_pipeline.supernet.dropout import drop_connect
from ofa_pipeline.supernet.elastic_ops import (
    ElasticBatchNorm,
    ElasticConv,
    ElasticDepthwiseConv,
    ElasticSqueezeExcite,
)


def activate(x: Tensor, activation: Activation | None) -> Tensor:
    """Apply an activation with torch's own kernels; None leaves the features alone."""
    match activation:
        case "relu":
            # In place: spares fresh memory, and its gradient needs the output. In a view, the
            # gradient of all behind it would be copied.
            return F.relu(x) if x._is_view() else F.relu_(x)
        case "relu6":
            return F.relu6(x)
        case "h_swish":
            return F.hardswish(x)
        case None:
            return x


def normalized(x: Tensor, norm: ElasticBatchNorm, activation: Activation | None) -> Tensor:
    """Normalize (N, C, H, W) and apply an activation: in one region, where it is compiled."""
    if norm.region is not None and norm.training:
        return norm.region(norm, x, activation)
    return activate(norm(x), activation)


class ElasticConvNorm(nn.Module):
    """1x1 or larger convolution, batch norm, activation."""

    def __init__(self, conv: ElasticConv, *, bn_eps: float, activation: Activation | None) -> None:
        """Put batch norm and activation behind the convolution."""
        super().__init__()
        self.conv = conv
        self.norm = ElasticBatchNorm(conv.weight.shape[0], eps=bn_eps)
        self.activation = activation

    def forward(self, x: Tensor, *, out_channels: int | None = None) -> Tensor:
        """Transform (N, C, H, W); all output channels when their number is left out."""
        return normalized(self.conv(x, out_channels=out_channels), self.norm, self.activation)


class ElasticDepthwise(nn.Module):
    """Depthwise convolution, batch norm, activation."""

    def __init__(
        self, conv: ElasticDepthwiseConv, *, bn_eps: float, activation: Activation
    ) -> None:
        """Put batch norm and activation behind the convolution."""
        super().__init__()
        self.conv = conv
        self.norm = ElasticBatchNorm(conv.weight.shape[0], eps=bn_eps)
        self.activation = activation

    def forward(self, x: Tensor, *, kernel_size: int) -> Tensor:
        """Transform (N, C, H, W) with the kernel of that size."""
        return normalized(self.conv(x, kernel_size=kernel_size), self.norm, self.activation)


class ElasticMBConv(nn.Module):
    """Mobile inverted bottleneck with elastic kernel size and expand ratio.

    Expand 1x1, depthwise, optional squeeze-excite, project 1x1. The widths at both ends are
    fixed. A block whose only expand ratio is 1 has no expand convolution.
    """

    def __init__(
        self, shape: MBConvShape, *, kernel_sizes: Sequence[int], expand_ratios: Sequence[float]
    ) -> None:
        """Hold the layers of the largest expand ratio and kernel size."""
        super().__init__()
        self.shape = shape
        middle = expanded_channels(shape.in_channels, expand_ratios[-1])
        self.expand: ElasticConvNorm | None = None
        if tuple(expand_ratios) != (1,):
            self.expand = ElasticConvNorm(
                ElasticConv(shape.in_channels, middle),
                bn_eps=shape.bn_eps,
                activation=shape.activation,
            )
        self.depthwise = ElasticDepthwise(
            ElasticDepthwiseConv(middle, kernel_sizes, stride=shape.stride),
            bn_eps=shape.bn_eps,
            activation=shape.activation,
        )
        self.se = ElasticSqueezeExcite(middle) if shape.use_se else None
        self.project = ElasticConvNorm(
            ElasticConv(middle, shape.out_channels), bn_eps=shape.bn_eps, activation=None
        )

    def forward(
        self, x: Tensor, *, kernel_size: int, expand_ratio: float, drop_rate: float = 0.0
    ) -> Tensor:
        """Transform (N, C, H, W) with the sizes that the architecture gives this block.

        Args:
            x: The input.
            kernel_size: Of the depthwise convolution.
            expand_ratio: Of the inner width.
            drop_rate: Share of the images that a block with a shortcut leaves as they are, in
                training mode.
        """
        y: Tensor = x
        if self.expand is not None:
            channels = expanded_channels(self.shape.in_channels, expand_ratio)
            y = self.expand(y, out_channels=channels)
        y = self.depthwise(y, kernel_size=kernel_size)
        if self.se is not None:
            y = self.se(y)
        y = self.project(y)
        if self.shape.has_shortcut:
            y = x + drop_connect(y, drop_rate, training=self.training)
        return y
