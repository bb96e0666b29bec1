"""The layers of the MobileNet family: MobileNetV3 and ProxylessNAS."""

import numpy as np

from ofa_pipeline.arch import (
    Activation,
    Genes,
    IntArray,
    MBConvBackbone,
    MBConvShape,
    SearchSpace,
    expanded_channels,
    first_mbconv_shape,
    mbconv_shapes,
    squeezed_channels,
)
from ofa_pipeline.cost.tally import Mask, Size, Tally, output_side


def count_mbconv(
    tally: Tally, space: SearchSpace, genes: Genes, *, num_classes: int, resolutions_px: IntArray
) -> None:
    """Add every layer of the architectures.

    Args:
        tally: Is added to.
        space: A space of MBConv blocks.
        genes: Shape (architectures, genes).
        num_classes: Length of the logits.
        resolutions_px: Image sizes, shape (architectures,).
    """
    backbone = space.backbone
    assert isinstance(backbone, MBConvBackbone)
    side = output_side(resolutions_px, backbone.stem_stride)
    tally.conv("stem", (3, backbone.stem_channels), side_px=side, kernel_size=3)
    _count_activation(tally, backbone.stem_activation, backbone.stem_channels, side)
    first = first_mbconv_shape(backbone)
    _count_depthwise(tally, first.in_channels, side, kernel_size=3, runs=True)
    tally.conv("project", (first.in_channels, first.out_channels), side_px=side)
    active = space.active_blocks(genes)
    for group, (shapes, offset) in enumerate(
        zip(mbconv_shapes(space), space.block_offsets, strict=True)
    ):
        tally.group = group
        for slot, shape in enumerate(shapes, start=offset):
            block = _Block(space, genes, group=group, slot=slot)
            _count_block(tally, shape, block, side_px=side, runs=active[:, slot])
            if slot == offset:  # every architecture has block 0, so the stride always applies
                side = output_side(side, shape.stride)
    tally.group = None
    _count_head(tally, backbone, side, space.block_groups[-1].out_channels, num_classes)


class _Block:
    """The choices of one block slot, looked up."""

    def __init__(self, space: SearchSpace, genes: Genes, *, group: int, slot: int) -> None:
        self.kernel_sizes = space.block_groups[group].kernel_sizes
        self.expand_ratios = space.block_groups[group].expand_ratios
        self.kernel_genes = genes[:, space.columns["kernel_size"]][:, slot]
        self.expand_genes = genes[:, space.columns["expand_ratio"]][:, slot]


def _count_block(
    tally: Tally, shape: MBConvShape, block: _Block, *, side_px: Size, runs: Mask
) -> None:
    widths = [expanded_channels(shape.in_channels, ratio) for ratio in block.expand_ratios]
    middle = np.array(widths)[block.expand_genes]
    if block.expand_ratios != (1,):
        tally.conv("expand", (shape.in_channels, middle), side_px=side_px, runs=runs)
        _count_activation(tally, shape.activation, middle, side_px, runs=runs)
    side = output_side(side_px, shape.stride)
    _count_activation(tally, shape.activation, middle, side, runs=runs)
    for index, kernel_size in enumerate(block.kernel_sizes):
        is_chosen = runs & (block.kernel_genes == index)
        _count_depthwise(tally, middle, side, kernel_size=kernel_size, runs=is_chosen)
    if shape.use_se:
        hidden = np.array([squeezed_channels(width) for width in widths])[block.expand_genes]
        tally.linear("squeeze_excite", (middle, hidden), runs=runs)
        tally.linear("squeeze_excite", (hidden, middle), runs=runs)
        tally.elementwise("scale", middle, side, runs=runs)
    tally.conv("project", (middle, shape.out_channels), side_px=side, runs=runs)


def _count_activation(
    tally: Tally, activation: Activation, channels: Size, side_px: Size, *, runs: Mask = True
) -> None:
    if activation == "h_swish":
        tally.elementwise("hard_swish", channels, side_px, runs=runs)


def _count_depthwise(
    tally: Tally, channels: Size, side_px: Size, *, kernel_size: int, runs: Mask
) -> None:
    kind = f"depthwise_k{kernel_size}"
    tally.conv(kind, (1, channels), side_px=side_px, kernel_size=kernel_size, runs=runs)


def _count_head(
    tally: Tally, backbone: MBConvBackbone, side_px: Size, in_channels: int, num_classes: int
) -> None:
    tally.conv("head", (in_channels, backbone.final_channels), side_px=side_px)
    _count_activation(tally, backbone.head_activation, backbone.final_channels, side_px)
    features = backbone.final_channels
    if backbone.feature_mix_channels is not None:
        tally.linear("head", (features, backbone.feature_mix_channels), has_bias=False)
        features = backbone.feature_mix_channels
        _count_activation(tally, backbone.head_activation, features, 1)
    tally.linear("head", (features, num_classes))
