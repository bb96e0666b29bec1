"""A subnet as a plain network: nothing elastic, torch's own layers, ready to ship.

Modules are called by their place in the supernet (``groups.2.1.expand.conv``), whatever runs
beside them, so names mean the same in every subnet and in the supernet. Nothing here imports
elastic code.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from ofa_pipeline.arch import (
    Activation,
    Arch,
    MBConvBackbone,
    MBConvShape,
    SearchSpace,
    expanded_channels,
    first_mbconv_shape,
    mbconv_shapes,
    squeezed_channels,
)
from ofa_pipeline.supernet.depthwise import DepthwiseConv2d
from ofa_pipeline.supernet.dropout import Dropout


def build_activation(activation: Activation | None) -> nn.Module:
    """Return torch's own module for an activation; identity for None."""
    match activation:
        case "relu":
            return nn.ReLU()
        case "relu6":
            return nn.ReLU6()
        case "h_swish":
            return nn.Hardswish()
        case None:
            return nn.Identity()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNormOptions:
    """What every batch norm of a network has in common."""

    eps: float
    momentum: float


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, activation: ``conv``, ``norm``, ``activation``."""

    def __init__(
        self,
        conv: nn.Conv2d,
        *,
        norm: BatchNormOptions,
        activation: Activation | None = None,
    ) -> None:
        """Put batch norm and activation behind the convolution."""
        layers: list[tuple[str, nn.Module]] = [
            ("conv", conv),
            ("norm", nn.BatchNorm2d(conv.out_channels, eps=norm.eps, momentum=norm.momentum)),
        ]
        if activation is not None:
            layers.append(("activation", build_activation(activation)))
        super().__init__(OrderedDict(layers))


class SqueezeExcite(nn.Module):
    """Squeeze-excite on (N, C) features."""

    def __init__(self, channels: int) -> None:
        """Hold the two fully connected layers."""
        super().__init__()
        hidden = squeezed_channels(channels)
        self.reduce = nn.Linear(channels, hidden)
        self.activation = nn.ReLU()
        self.expand = nn.Linear(hidden, channels)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel of (N, C, H, W)."""
        scale = self.gate(self.expand(self.activation(self.reduce(x.mean((2, 3))))))
        scaled: Tensor = x * scale[:, :, None, None]
        return scaled


class MBConv(nn.Module):
    """Mobile inverted bottleneck: expand, depthwise, squeeze-excite, project."""

    def __init__(
        self, shape: MBConvShape, *, kernel_size: int, expand_ratio: float, has_expand: bool
    ) -> None:
        """Build the layers for one kernel size and expand ratio."""
        super().__init__()
        middle = expanded_channels(shape.in_channels, expand_ratio)
        norm = BatchNormOptions(eps=shape.bn_eps, momentum=shape.bn_momentum)
        self.expand: ConvNorm | None = None
        if has_expand:
            conv = nn.Conv2d(shape.in_channels, middle, 1, bias=False)
            self.expand = ConvNorm(conv, activation=shape.activation, norm=norm)
        self.depthwise = ConvNorm(
            DepthwiseConv2d(middle, kernel_size, stride=shape.stride),
            activation=shape.activation,
            norm=norm,
        )
        self.se = SqueezeExcite(middle) if shape.use_se else None
        self.project = ConvNorm(nn.Conv2d(middle, shape.out_channels, 1, bias=False), norm=norm)
        self.has_shortcut = shape.has_shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, H, W)."""
        y: Tensor = x if self.expand is None else self.expand(x)
        y = self.depthwise(y)
        if self.se is not None:
            y = self.se(y)
        y = self.project(y)
        if self.has_shortcut:
            y = x + y
        return y


class MBConvSubnet(nn.Module):
    """One architecture of the MobileNet family (MobileNetV3, ProxylessNAS).

    Attributes:
        space: The space that the architecture is of.
        arch: The architecture.
        num_classes: Length of the logits.
    """

    def __init__(
        self, space: SearchSpace, arch: Arch, *, num_classes: int, dropout: float = 0.0
    ) -> None:
        """Build the layers, without choosing their weights.

        Raises:
            ArchError: If the architecture is not of the space.
        """
        super().__init__()
        space.check(arch)
        backbone = space.backbone
        assert isinstance(backbone, MBConvBackbone)
        self.space, self.arch, self.num_classes, self.dropout = space, arch, num_classes, dropout
        norm = BatchNormOptions(eps=backbone.bn_eps, momentum=backbone.bn_momentum)
        self.stem = ConvNorm(
            nn.Conv2d(
                3, backbone.stem_channels, 3, stride=backbone.stem_stride, padding=1, bias=False
            ),
            activation=backbone.stem_activation,
            norm=norm,
        )
        self.first_block = MBConv(
            first_mbconv_shape(backbone), kernel_size=3, expand_ratio=1, has_expand=False
        )
        self.groups = _build_groups(space, arch)
        self.final = ConvNorm(
            nn.Conv2d(space.block_groups[-1].out_channels, backbone.final_channels, 1, bias=False),
            activation=backbone.head_activation,
            norm=norm,
        )
        features = backbone.final_channels
        self.feature_mix: nn.Sequential | None = None
        if backbone.feature_mix_channels is not None:
            self.feature_mix = nn.Sequential(
                OrderedDict(
                    linear=nn.Linear(features, backbone.feature_mix_channels, bias=False),
                    activation=build_activation(backbone.head_activation),
                )
            )
            features = backbone.feature_mix_channels
        self.drop = Dropout(dropout)
        self.classifier = nn.Linear(features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Classify (N, 3, H, W) images; return logits (N, classes)."""
        x = self.first_block(self.stem(images))
        for group in self.groups:
            x = group(x)
        x = self.final(x).mean((2, 3))
        if self.feature_mix is not None:
            x = self.feature_mix(x)
        logits: Tensor = self.classifier(self.drop(x))
        return logits


def _build_groups(space: SearchSpace, arch: Arch) -> nn.ModuleList:
    kernel_sizes, expand_ratios = iter(arch.kernel_sizes), iter(arch.expand_ratios)
    groups = nn.ModuleList()
    for shapes, depth, group in zip(
        mbconv_shapes(space), arch.depths, space.block_groups, strict=True
    ):
        blocks = [
            MBConv(
                shape,
                kernel_size=next(kernel_sizes),
                expand_ratio=next(expand_ratios),
                has_expand=group.expand_ratios != (1,),
            )
            for shape in shapes[:depth]
        ]
        groups.append(nn.Sequential(*blocks))
    return groups
