"""The search spaces of the reference, and the one for small images."""

import pytest

from ofa_pipeline.arch import (
    MBConvBackbone,
    group_channels,
    inner_stem_channels,
    mbconv_shapes,
    stem_channels,
)
from ofa_pipeline.errors import ArchError
from ofa_pipeline.spaces import (
    REFERENCE_SPACES,
    mobilenet_v3,
    mobilenet_v3_small_images,
    proxyless,
    reference_space,
    resnet50,
)


@pytest.mark.parametrize("space_id", REFERENCE_SPACES)
def test_reference_spaces_carry_their_name(space_id):
    assert reference_space(space_id).space_id == space_id


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ArchError, match="Did you mean 'ofa_resnet50'"):
        reference_space("ofa_resnet")


@pytest.mark.parametrize(
    ("multiplier", "stem", "groups", "final", "mix"),
    [
        (1.0, 16, [24, 40, 80, 112, 160], 960, 1280),
        (1.2, 24, [32, 48, 96, 136, 192], 1152, 1536),
    ],
)
def test_mobilenet_widths_are_the_reference_ones(multiplier, stem, groups, final, mix):
    space = mobilenet_v3(width_multiplier=multiplier)
    assert isinstance(space.backbone, MBConvBackbone)
    assert space.backbone.stem_channels == space.backbone.first_block_channels == stem
    assert [group.out_channels for group in space.block_groups] == groups
    assert space.backbone.final_channels == final
    assert space.backbone.feature_mix_channels == mix


def test_proxyless_widths_are_the_reference_ones():
    space = proxyless(width_multiplier=1.3)
    assert isinstance(space.backbone, MBConvBackbone)
    assert (space.backbone.stem_channels, space.backbone.first_block_channels) == (40, 24)
    assert [group.out_channels for group in space.block_groups] == [32, 56, 104, 128, 248, 416]
    assert space.backbone.final_channels == 1664
    assert space.num_blocks == 21
    assert space.block_groups[-1].depths == (1,)


def test_resnet_widths_are_the_reference_ones():
    space = resnet50()
    widths = space.width_multipliers
    assert [inner_stem_channels(space.backbone, w) for w in widths] == [24, 24, 32]
    assert [stem_channels(space.backbone, w) for w in widths] == [40, 48, 64]
    assert [group_channels(space.block_groups[3], w) for w in widths] == [664, 816, 1024]
    assert space.num_blocks == 19


def test_only_the_first_block_of_a_group_strides_and_changes_width():
    shapes = mbconv_shapes(mobilenet_v3(width_multiplier=1.0))
    assert [[shape.stride for shape in group] for group in shapes][3] == [1, 1, 1, 1]
    assert [shape.has_shortcut for shape in shapes[3]] == [False, True, True, True]
    assert [shape.in_channels for shape in shapes[0]] == [16, 24, 24, 24]


def test_block_shapes_of_another_family_are_refused():
    with pytest.raises(ArchError, match="must have MBConv blocks, got ResNetBackbone"):
        mbconv_shapes(resnet50())


def test_small_images_follow_mobilenet_in_activations_and_squeeze_excite():
    space = mobilenet_v3_small_images(
        stem_stride=1,
        stem_channels=8,
        group_channels=[16, 24, 32, 40],
        group_strides=[1, 2, 2, 1],
        head_channels=(48, 64),
        resolutions_px=[16],
        depths=[1],
        kernel_sizes=[3],
        expand_ratios=[2],
    )
    assert [group.activation for group in space.block_groups] == ["relu"] * 2 + ["h_swish"] * 2
    assert [group.use_se for group in space.block_groups] == [False, True, True, True]
    assert space.block_groups[0].expand_ratios == (2.0,)


def test_lists_of_another_length_are_refused():
    with pytest.raises((ArchError, ValueError)):
        mobilenet_v3_small_images(
            stem_stride=1,
            stem_channels=8,
            group_channels=[16, 24],
            group_strides=[1],
            head_channels=(48, 64),
            resolutions_px=[16],
            depths=[1],
            kernel_sizes=[3],
            expand_ratios=[2.0],
        )
