"""The layers of the ResNet50-D family."""

import numpy as np

from ofa_pipeline.arch import (
    BlockGroup,
    Genes,
    IntArray,
    ResNetBackbone,
    SearchSpace,
    expanded_channels,
    group_channels,
    inner_stem_channels,
    stem_channels,
)
from ofa_pipeline.cost.tally import Mask, Size, Tally, output_side


def count_resnet(
    tally: Tally, space: SearchSpace, genes: Genes, *, num_classes: int, resolutions_px: IntArray
) -> None:
    """Add every layer of the architectures.

    Args:
        tally: Is added to.
        space: A space of bottleneck blocks.
        genes: Shape (architectures, genes).
        num_classes: Length of the logits.
        resolutions_px: Image sizes, shape (architectures,).
    """
    backbone = space.backbone
    assert isinstance(backbone, ResNetBackbone)
    widths = genes[:, space.columns["width"]]
    active = space.active_blocks(genes)
    inner = _look_up(
        [inner_stem_channels(backbone, w) for w in space.width_multipliers], widths[:, 0]
    )
    stem = _look_up([stem_channels(backbone, w) for w in space.width_multipliers], widths[:, 1])
    side = output_side(resolutions_px, 2)
    tally.conv("stem", (3, inner), side_px=side, kernel_size=3)
    for slot in range(space.block_groups[0].max_depth):
        tally.conv("stem", (inner, inner), side_px=side, kernel_size=3, runs=active[:, slot])
    tally.conv("stem", (inner, stem), side_px=side, kernel_size=3)
    side, channels = output_side(side, 2), stem
    ratio_genes = genes[:, space.columns["expand_ratio"]]
    for number, group in enumerate(space.block_groups[1:], start=1):
        tally.group = number
        width_genes = widths[:, number + 1]
        out = _look_up([group_channels(group, w) for w in space.width_multipliers], width_genes)
        for block in range(group.max_depth):
            slot = space.block_offsets[number] + block
            stride = group.stride if block == 0 else 1
            middle = _middle(space, group, width_genes, ratio_genes[:, slot])
            _count_bottleneck(
                tally,
                (channels, middle, out),
                sides_px=(side, output_side(side, stride)),
                has_downsample=block == 0,
                runs=active[:, slot],
            )
            if block == 0:  # every architecture has block 0
                side, channels = output_side(side, stride), out
    tally.group = None
    tally.linear("head", (channels, num_classes))


def _look_up(values: list[int], genes: Genes) -> IntArray:
    return np.array(values, dtype=np.int64)[genes]


def _middle(space: SearchSpace, group: BlockGroup, widths: Genes, ratios: Genes) -> IntArray:
    table = np.array(
        [
            [expanded_channels(group_channels(group, w), ratio) for ratio in group.expand_ratios]
            for w in space.width_multipliers
        ],
        dtype=np.int64,
    )
    return table[widths, ratios]


def _count_bottleneck(
    tally: Tally,
    channels: tuple[Size, Size, Size],
    *,
    sides_px: tuple[Size, Size],
    has_downsample: bool,
    runs: Mask,
) -> None:
    """Add one block; `channels` in, inside and out, `sides_px` before and after the stride."""
    in_channels, middle, out = channels
    before, after = sides_px
    tally.conv("reduce", (in_channels, middle), side_px=before, runs=runs)
    tally.conv("conv_k3", (middle, middle), side_px=after, kernel_size=3, runs=runs)
    tally.conv("project", (middle, out), side_px=after, runs=runs)
    if has_downsample:
        tally.conv("downsample", (in_channels, out), side_px=after, runs=runs)
