"""The layers of hub networks, laid out and called as the reference's: torch's own if they can be.

Nothing here is elastic; `ofa_pipeline.reference.hub.elastic` builds on it.
"""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from ofa_pipeline.arch import Activation


def build_activation(activation: Activation) -> nn.Module:
    """Return torch's own module for an activation.

    None works in place, so that what a hook was given stays as it is.
    """
    modules: dict[str, type[nn.Module]] = {
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "h_swish": nn.Hardswish,
    }
    return modules[activation]()


def build_sequence(**modules: nn.Module | None) -> nn.Sequential:
    """Return the modules in a row by these names; None leaves one out."""
    return nn.Sequential(OrderedDict((n, m) for n, m in modules.items() if m is not None))


def channels_last(images: Tensor) -> Tensor:
    """Lay out (N, C, H, W) images pixel by pixel, in which convolutions are fastest.

    Spelled out, because not every transformation of torch knows the memory format by its name.
    """
    return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def pointwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve (N, C, H, W) with (C', C, 1, 1) as a fully connected layer at every pixel.

    On features pooled to one pixel that is faster than torch's convolution, and gives the bits
    of the networks in `ofa_pipeline.supernet`, which have a fully connected layer there.
    """
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


class PointwiseConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` of kernel size 1 for pooled features, computed by `pointwise_conv2d`."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        """Hold the weight, shape (out, in, 1, 1)."""
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        return pointwise_conv2d(input, self.weight, self.bias)


class GlobalAvgPool2d(nn.Module):
    """Mean over all pixels: (N, C, H, W) to (N, C, 1, 1) or (N, C)."""

    def __init__(self, *, keep_dim: bool) -> None:
        """Keep two dimensions of size 1, or drop them."""
        super().__init__()
        self.keep_dim = keep_dim

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        # Pooled with all dimensions, because quantized features know it in this way only.
        pooled = x.mean((2, 3), keepdim=True)
        return pooled if self.keep_dim else pooled.flatten(1)


class SqueezeExcite(nn.Module):
    """Squeeze-excite: ``fc.reduce``, ``fc.expand`` on pooled features."""

    def __init__(self, reduce: nn.Module, expand: nn.Module) -> None:
        """Put activations behind the two layers."""
        super().__init__()
        self.fc = build_sequence(
            reduce=reduce, relu=nn.ReLU(), expand=expand, h_sigmoid=nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel of (N, C, H, W)."""
        scaled: Tensor = x * self.fc(x.mean((2, 3), keepdim=True))
        return scaled


class MBConvLayer(nn.Module):
    """``inverted_bottleneck``, ``depth_conv`` (squeeze-excite at its end), ``point_linear``."""

    def __init__(
        self,
        inverted_bottleneck: nn.Module | None,
        depth_conv: nn.Module,
        point_linear: nn.Module,
    ) -> None:
        """Hold the three; the first is None where the expand ratio is 1."""
        super().__init__()
        self.inverted_bottleneck = inverted_bottleneck
        self.depth_conv = depth_conv
        self.point_linear = point_linear

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, H, W)."""
        if self.inverted_bottleneck is not None:
            x = self.inverted_bottleneck(x)
        y: Tensor = self.point_linear(self.depth_conv(x))
        return y


class ResidualBlock(nn.Module):
    """``conv``, its input added where there is a ``shortcut``."""

    def __init__(self, conv: nn.Module, shortcut: nn.Module | None) -> None:
        """Hold both."""
        super().__init__()
        self.conv = conv
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, H, W)."""
        y: Tensor = self.conv(x)
        if self.shortcut is not None:
            y = self.shortcut(x) + y
        return y


class ResNetBottleneckBlock(nn.Module):
    """``conv1``, ``conv2``, ``conv3`` and the ``downsample`` of ResNet-D."""

    def __init__(
        self,
        convs: tuple[nn.Module, nn.Module, nn.Module],
        downsample: nn.Module,
        final_act: nn.Module,
    ) -> None:
        """Hold all; `downsample` is the identity where the block keeps its input's shape."""
        super().__init__()
        self.conv1, self.conv2, self.conv3 = convs
        self.downsample = downsample
        self.final_act = final_act

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, H, W)."""
        y = self.conv3(self.conv2(self.conv1(x)))
        result: Tensor = self.final_act(y + self.downsample(x))
        return result
