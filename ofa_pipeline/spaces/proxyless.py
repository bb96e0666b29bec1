"""The search space of the ProxylessNAS family."""

from ofa_pipeline.arch import BlockGroup, MBConvBackbone, SearchSpace, make_divisible

# Width at multiplier 1 and stride of each block group; the last one has a single block.
# Source: Cai et al. 2019 (arXiv:1812.00332), as the reference's OFA-ProxylessNAS groups it.
_GROUPS = ((24, 2), (40, 2), (80, 2), (96, 1), (192, 2), (320, 1))
_STEM, _FIRST_BLOCK, _FINAL = 32, 16, 1280


def proxyless(*, width_multiplier: float) -> SearchSpace:
    """Return the reference's OFA-ProxylessNAS space; published at width 1.3.

    Source:
        Cai et al. 2020 (arXiv:1908.09791), section 4.1, and the reference's constructor.
    """

    def width(channels: int) -> int:
        return make_divisible(channels * width_multiplier)

    last = len(_GROUPS) - 1
    return SearchSpace(
        space_id=f"ofa_proxyless_d234_e346_k357_w{width_multiplier:.1f}",
        resolutions_px=tuple(range(128, 225, 4)),
        block_groups=tuple(
            BlockGroup(
                out_channels=width(channels),
                stride=stride,
                depths=(1,) if index == last else (2, 3, 4),
                kernel_sizes=(3, 5, 7),
                expand_ratios=(3.0, 4.0, 6.0),
                activation="relu6",
            )
            for index, (channels, stride) in enumerate(_GROUPS)
        ),
        backbone=MBConvBackbone(
            stem_channels=width(_STEM),
            stem_stride=2,
            stem_activation="relu6",
            first_block_channels=width(_FIRST_BLOCK),
            first_block_activation="relu6",
            final_channels=width(_FINAL),
            feature_mix_channels=None,
            head_activation="relu6",
            bn_eps=1e-3,
        ),
    )
