"""Search spaces of the MobileNetV3 family."""

from collections.abc import Sequence

from ofa_pipeline.arch import (
    Activation,
    BlockGroup,
    MBConvBackbone,
    SearchSpace,
    make_divisible,
)

# Of each block group: width at multiplier 1, stride, activation, squeeze-excite.
# Source: Howard et al. 2019 (arXiv:1905.02244), table 1, as the reference groups it.
_GROUPS: tuple[tuple[int, int, Activation, bool], ...] = (
    (24, 2, "relu", False),
    (40, 2, "relu", True),
    (80, 2, "h_swish", False),
    (112, 1, "h_swish", True),
    (160, 2, "h_swish", True),
)


def mobilenet_v3(*, width_multiplier: float) -> SearchSpace:
    """Return the reference's OFA-MobileNetV3 space; published at width 1.0 and 1.2.

    Source:
        Cai et al. 2020 (arXiv:1908.09791), section 4.1. The resolutions are the 25 multiples
        of 4 from 128 to 224 px that the reference trains with.
    """

    def width(channels: int) -> int:
        return make_divisible(channels * width_multiplier)

    return SearchSpace(
        space_id=f"ofa_mbv3_d234_e346_k357_w{width_multiplier:.1f}",
        resolutions_px=tuple(range(128, 225, 4)),
        block_groups=tuple(
            BlockGroup(
                out_channels=width(channels),
                stride=stride,
                depths=(2, 3, 4),
                kernel_sizes=(3, 5, 7),
                expand_ratios=(3.0, 4.0, 6.0),
                activation=activation,
                use_se=use_se,
            )
            for channels, stride, activation, use_se in _GROUPS
        ),
        backbone=MBConvBackbone(
            stem_channels=width(16),
            stem_stride=2,
            stem_activation="h_swish",
            first_block_channels=width(16),
            first_block_activation="relu",
            final_channels=width(960),
            feature_mix_channels=width(1280),
            head_activation="h_swish",
        ),
    )


def mobilenet_v3_small_images(  # noqa: PLR0913 - the shape of a network, all by keyword
    *,
    stem_stride: int,
    stem_channels: int,
    group_channels: Sequence[int],
    group_strides: Sequence[int],
    head_channels: tuple[int, int],
    resolutions_px: Sequence[int],
    depths: Sequence[int],
    kernel_sizes: Sequence[int],
    expand_ratios: Sequence[float],
) -> SearchSpace:
    """Return a MobileNetV3 space for images of about 28 to 64 px.

    Args:
        stem_stride: Stride of the stem convolution; 1 keeps the full resolution.
        stem_channels: Channels of the stem and the static first block.
        group_channels: Output channels of each block group.
        group_strides: Stride of the first block of each group.
        head_channels: Channels of the 1x1 convolutions before and after global pooling.
        resolutions_px: Image sizes that subnets may use.
        depths: Numbers of blocks that a group may run.
        kernel_sizes: Sizes of the depthwise convolutions.
        expand_ratios: Ratios of the MBConv blocks.

    Raises:
        ArchError: If a list of choices is empty, unsorted or has repeats.
    """
    num_groups = len(group_channels)
    # As in MobileNetV3: ReLU in the early, high-resolution half, hard swish after it;
    # squeeze-excite everywhere but in the first group.
    return SearchSpace(
        space_id="mobilenet_v3_small_images",
        resolutions_px=tuple(resolutions_px),
        block_groups=tuple(
            BlockGroup(
                out_channels=channels,
                stride=stride,
                depths=tuple(depths),
                kernel_sizes=tuple(kernel_sizes),
                expand_ratios=tuple(float(ratio) for ratio in expand_ratios),
                activation="relu" if index < num_groups // 2 else "h_swish",
                use_se=index > 0,
            )
            for index, (channels, stride) in enumerate(
                zip(group_channels, group_strides, strict=True)
            )
        ),
        backbone=MBConvBackbone(
            stem_channels=stem_channels,
            stem_stride=stem_stride,
            stem_activation="h_swish",
            first_block_channels=stem_channels,
            first_block_activation="relu",
            final_channels=head_channels[0],
            feature_mix_channels=head_channels[1],
            head_activation="h_swish",
        ),
    )
