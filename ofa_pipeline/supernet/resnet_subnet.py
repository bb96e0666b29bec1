"""A ResNet50-D subnet as a plain network: nothing elastic, torch's own layers, ready to ship."""

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
from ofa_pipeline.supernet.dropout import Dropout
from ofa_pipeline.supernet.subnet import BatchNormOptions, ConvNorm, build_activation


class Bottleneck(nn.Module):
    """ResNet-D bottleneck: 1x1, 3x3, 1x1; its shortcut averages, then convolves 1x1."""

    def __init__(
        self,
        channels: tuple[int, int],
        group: BlockGroup,
        backbone: ResNetBackbone,
        *,
        expand_ratio: float,
        is_first: bool,
    ) -> None:
        """Build the layers; `channels` in and out."""
        super().__init__()
        in_channels, out = channels
        middle = expanded_channels(out, expand_ratio)
        stride = group.stride if is_first else 1
        norm = BatchNormOptions(eps=backbone.bn_eps, momentum=backbone.bn_momentum)
        self.conv1 = ConvNorm(
            nn.Conv2d(in_channels, middle, 1, bias=False), activation=group.activation, norm=norm
        )
        self.conv2 = ConvNorm(
            nn.Conv2d(middle, middle, 3, stride=stride, padding=1, bias=False),
            activation=group.activation,
            norm=norm,
        )
        self.conv3 = ConvNorm(nn.Conv2d(middle, out, 1, bias=False), norm=norm)
        self.pool: nn.AvgPool2d | None = None
        self.downsample: ConvNorm | None = None
        if is_first:
            if stride > 1:
                self.pool = nn.AvgPool2d(stride, ceil_mode=True)
            self.downsample = ConvNorm(nn.Conv2d(in_channels, out, 1, bias=False), norm=norm)
        self.activation = build_activation(group.activation)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, H, W)."""
        y = self.conv3(self.conv2(self.conv1(x)))
        if self.pool is not None:
            x = self.pool(x)
        if self.downsample is not None:
            x = self.downsample(x)
        result: Tensor = self.activation(y + x)
        return result


class ResNetSubnet(nn.Module):
    """One architecture of the ResNet50-D family.

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
        assert isinstance(backbone, ResNetBackbone)
        self.space, self.arch, self.num_classes, self.dropout = space, arch, num_classes, dropout
        inner = inner_stem_channels(backbone, arch.width_multipliers[0])
        stem = stem_channels(backbone, arch.width_multipliers[1])
        activation = space.block_groups[0].activation
        norm = BatchNormOptions(eps=backbone.bn_eps, momentum=backbone.bn_momentum)

        def conv(in_channels: int, out_channels: int, *, stride: int = 1) -> ConvNorm:
            layer = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
            return ConvNorm(layer, activation=activation, norm=norm)

        self.stem_in = conv(3, inner, stride=2)
        self.groups = nn.ModuleList(
            [nn.ModuleList(conv(inner, inner) for _ in range(arch.depths[0]))]
        )
        self.stem_out = conv(inner, stem)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.groups.extend(_build_groups(space, arch, backbone, in_channels=stem))
        self.drop = Dropout(dropout)
        features = group_channels(space.block_groups[-1], arch.width_multipliers[-1])
        self.classifier = nn.Linear(features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Classify (N, 3, H, W) images; return logits (N, classes)."""
        stem_blocks, *groups = self.groups
        x = self.stem_in(images)
        for block in stem_blocks.children():
            x = x + block(x)
        x = self.pool(self.stem_out(x))
        for group in groups:
            x = group(x)
        logits: Tensor = self.classifier(self.drop(x.mean((2, 3))))
        return logits


def _build_groups(
    space: SearchSpace, arch: Arch, backbone: ResNetBackbone, *, in_channels: int
) -> list[nn.Sequential]:
    ratios = iter(arch.expand_ratios[arch.depths[0] :])
    groups = []
    for group, depth, width in zip(
        space.block_groups[1:], arch.depths[1:], arch.width_multipliers[2:], strict=True
    ):
        out = group_channels(group, width)
        blocks = []
        for index in range(depth):
            blocks.append(
                Bottleneck(
                    (in_channels, out),
                    group,
                    backbone,
                    expand_ratio=next(ratios),
                    is_first=index == 0,
                )
            )
            in_channels = out
        groups.append(nn.Sequential(*blocks))
    return groups
