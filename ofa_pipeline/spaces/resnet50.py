"""The search space of the ResNet50-D family."""

from ofa_pipeline.arch import BlockGroup, ResNetBackbone, SearchSpace

# Width at multiplier 1, stride, and numbers of blocks of each block group.
# Source: He et al. 2019 (arXiv:1812.01187), ResNet-50-D; two more blocks a group are elastic, on
# a base of (2, 2, 4, 2), as in the reference's OFA-ResNets.
_GROUPS = (
    (256, 1, (2, 3, 4)),
    (512, 2, (2, 3, 4)),
    (1024, 2, (4, 5, 6)),
    (2048, 2, (2, 3, 4)),
)
_STEM_CHANNELS = 64


def resnet50() -> SearchSpace:
    """Return the reference's OFA-ResNet50 space: depth, expand ratio and width are elastic.

    Block group 0 is the residual block inside the stem, which runs or not. The six width sites
    are the inner stem, the end of the stem, and the four block groups.

    Source:
        The reference's ``OFAResNets`` with depth (0, 1, 2), expand ratio (0.2, 0.25, 0.35) and
        width multiplier (0.65, 0.8, 1.0).
    """
    stem = BlockGroup(
        out_channels=_STEM_CHANNELS // 2,
        stride=1,
        depths=(0, 1),
        kernel_sizes=(3,),
        expand_ratios=(1.0,),
        activation="relu",
    )
    return SearchSpace(
        space_id="ofa_resnet50",
        resolutions_px=tuple(range(128, 225, 4)),
        block_groups=(
            stem,
            *(
                BlockGroup(
                    out_channels=channels,
                    stride=stride,
                    depths=depths,
                    kernel_sizes=(3,),
                    expand_ratios=(0.2, 0.25, 0.35),
                    activation="relu",
                )
                for channels, stride, depths in _GROUPS
            ),
        ),
        backbone=ResNetBackbone(stem_channels=_STEM_CHANNELS),
        width_multipliers=(0.65, 0.8, 1.0),
        num_width_sites=2 + len(_GROUPS),
    )
