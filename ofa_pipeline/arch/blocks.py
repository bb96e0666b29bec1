"""The fixed sides of every block of a space: what networks are built from and costs counted on."""

from dataclasses import dataclass

from ofa_pipeline.arch.shape import (
    Activation,
    BlockGroup,
    MBConvBackbone,
    ResNetBackbone,
    make_divisible,
)
from ofa_pipeline.arch.space import SearchSpace
from ofa_pipeline.errors import ArchError


@dataclass(frozen=True, slots=True, kw_only=True)
class MBConvShape:
    """What is not elastic in one MBConv block."""

    in_channels: int
    out_channels: int
    stride: int
    activation: Activation
    use_se: bool = False
    bn_eps: float
    bn_momentum: float

    @property
    def has_shortcut(self) -> bool:
        """Whether the input is added to the output."""
        return self.stride == 1 and self.in_channels == self.out_channels


def mbconv_shapes(space: SearchSpace) -> tuple[tuple[MBConvShape, ...], ...]:
    """Return the shape of every block slot of every block group, without the static first block.

    Raises:
        ArchError: If the space is not one of MBConv blocks.
    """
    backbone = space.backbone
    if not isinstance(backbone, MBConvBackbone):
        raise ArchError(f"{space.space_id} must have MBConv blocks, got {type(backbone).__name__}")
    groups = []
    channels = backbone.first_block_channels
    for group in space.block_groups:
        shapes = []
        for block in range(group.max_depth):
            shapes.append(
                MBConvShape(
                    in_channels=channels,
                    out_channels=group.out_channels,
                    stride=group.stride if block == 0 else 1,
                    activation=group.activation,
                    use_se=group.use_se,
                    bn_eps=backbone.bn_eps,
                    bn_momentum=backbone.bn_momentum,
                )
            )
            channels = group.out_channels
        groups.append(tuple(shapes))
    return tuple(groups)


def first_mbconv_shape(backbone: MBConvBackbone) -> MBConvShape:
    """Return the shape of the static first block: kernel 3, expand ratio 1, stride 1."""
    return MBConvShape(
        in_channels=backbone.stem_channels,
        out_channels=backbone.first_block_channels,
        stride=1,
        activation=backbone.first_block_activation,
        bn_eps=backbone.bn_eps,
        bn_momentum=backbone.bn_momentum,
    )


def stem_channels(backbone: ResNetBackbone, width_multiplier: float) -> int:
    """Return what a ResNet's stem puts out."""
    return make_divisible(backbone.stem_channels * width_multiplier)


def inner_stem_channels(backbone: ResNetBackbone, width_multiplier: float) -> int:
    """Return the channels inside a ResNet's stem.

    Two multipliers may round to the same number (0.65 and 0.8 do, in the reference's space).
    """
    return make_divisible(stem_channels(backbone, width_multiplier) // 2)


def group_channels(group: BlockGroup, width_multiplier: float) -> int:
    """Return what the blocks of a ResNet's group put out."""
    return make_divisible(group.out_channels * width_multiplier)
