from xml.etree import ElementTree

import pytest

from ofa_pipeline.errors import ArchError
from ofa_pipeline.report.architecture import draw_architecture, groups_of
from ofa_pipeline.spaces import resnet50
from tests.support.report import SPACE
from tests.support.report_workspace import SPACE as OTHER_SPACE


def classes_of(svg):
    return [element.get("class", "") for element in ElementTree.fromstring(svg).iter()]


def test_groups_hold_the_blocks_that_run_and_the_sizes_that_they_run_at():
    arch = SPACE.arch(depths=[1, 2, 3], kernel_sizes=[3, 5, 7, 3, 5, 7], expand_ratios=2)
    groups = groups_of(SPACE, arch)
    assert [[block.kernel_size for block in group.blocks] for group in groups] == [
        [3], [5, 7], [3, 5, 7],
    ]  # fmt: skip
    assert [group.sides_px for group in groups] == [(28, 14), (14, 7), (7, 4)]
    assert [group.channels for group in groups] == [16, 24, 40]
    assert [group.num_skipped for group in groups] == [2, 1, 0]


def test_every_block_is_drawn_and_every_skipped_one_dashed():
    classes = classes_of(draw_architecture(SPACE, SPACE.smallest))
    assert classes.count("frame") == 3
    assert classes.count("skipped") == 6


def test_block_tells_its_choices_to_those_who_hover_and_to_those_who_cannot_see():
    svg = ElementTree.fromstring(draw_architecture(SPACE, SPACE.largest))
    titles = [element.text for element in svg.iter() if element.tag.endswith("title")]
    assert titles == ["kernel 7\N{MULTIPLICATION SIGN}7, expand ratio 4"] * 9
    assert "kernel 7 expand 4" in svg.get("aria-label")


def test_fuller_box_is_a_larger_expansion():
    def filled(arch):
        svg = ElementTree.fromstring(draw_architecture(SPACE, arch))
        return [float(e.get("width")) for e in svg.iter() if e.get("class") == "fill"]

    assert filled(SPACE.smallest)[0] == pytest.approx(filled(SPACE.largest)[0] / 2, abs=0.1)


def test_resnet_has_its_widths_and_its_pooling():
    space = resnet50()
    groups = groups_of(space, space.largest)
    assert [group.sides_px[1] for group in groups] == [112, 56, 28, 14, 7]
    assert [group.channels for group in groups] == [32, 256, 512, 1024, 2048]
    assert groups_of(space, space.smallest)[0].blocks == ()
    assert "skipped" in classes_of(draw_architecture(space, space.smallest))


def test_architecture_of_another_space_is_an_error():
    with pytest.raises(ArchError):
        draw_architecture(OTHER_SPACE, SPACE.largest)
