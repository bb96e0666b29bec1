"""The active subnet in the reference's terms."""

import random
from typing import Any

import pytest

from ofa_pipeline.errors import ArchError
from ofa_pipeline.reference.hub.settings import ActiveSettings
from ofa_pipeline.spaces import REFERENCE_SPACES, reference_space

MBV3 = "ofa_mbv3_d234_e346_k357_w1.0"
PROXYLESS = "ofa_proxyless_d234_e346_k357_w1.3"
RESNET = "ofa_resnet50"


def settings_of(space_id: str) -> ActiveSettings:
    return ActiveSettings(reference_space(space_id))


@pytest.mark.parametrize("space_id", sorted(REFERENCE_SPACES))
def test_starts_with_the_largest_subnet(space_id: str) -> None:
    settings = settings_of(space_id)
    assert settings.arch() == settings.space.largest


# Drawn by the reference (mit-han-lab/once-for-all f03b267) with random.seed(0).
def test_draws_what_the_reference_draws_of_mobilenet() -> None:
    random.seed(0)
    drawn = settings_of(MBV3).sample()
    assert drawn["ks"] == [5, 5, 3, 5, 7, 5, 5, 5, 5, 5, 7, 3, 7, 3, 5, 3, 3, 7, 5, 7]
    assert drawn["e"] == [6, 6, 3, 4, 3, 6, 3, 6, 4, 4, 6, 3, 4, 4, 4, 6, 6, 3, 6, 4]
    assert drawn["d"] == [3, 4, 3, 2, 4]


def test_draws_what_the_reference_draws_of_proxyless() -> None:
    random.seed(0)
    assert settings_of(PROXYLESS).sample()["d"] == [3, 2, 4, 2, 2, 1]


def test_draws_what_the_reference_draws_of_resnet() -> None:
    random.seed(0)
    drawn = settings_of(RESNET).sample()
    assert drawn["d"] == [0, 2, 2, 2, 0]
    assert drawn["w"] == [1, 0, 2, 0, 2, 1]
    assert drawn["e"][:5] == [0.25, 0.25, 0.2, 0.25, 0.35]


def test_number_holds_for_all_and_none_leaves_a_setting() -> None:
    settings = settings_of(MBV3)
    settings.set({"ks": 3, "d": [2, None, 2, None, 2]})
    arch = settings.arch()
    assert set(arch.kernel_sizes) == {3}
    assert arch.depths == (2, 4, 2, 4, 2)
    assert set(arch.expand_ratios) == {6.0}


def test_values_of_skipped_blocks_come_back_with_them() -> None:
    settings = settings_of(MBV3)
    settings.set({"ks": [3, 3, 3, 5] * 5, "d": 2})
    settings.set({"d": 4})
    assert settings.arch().kernel_sizes[3] == 5


def test_last_group_of_proxyless_keeps_its_single_block() -> None:
    settings = settings_of(PROXYLESS)
    settings.set({"d": 3})
    assert settings.arch().depths == (3, 3, 3, 3, 3, 1)


def test_resnet_keeps_the_stem_block_at_full_depth_only() -> None:
    settings = settings_of(RESNET)
    settings.set({"d": 1})
    assert settings.arch().depths == (0, 3, 3, 5, 3)
    settings.set({"d": [2, 0, 0, 0, 0], "w": [0, 1, 2, 0, 1, 2]})
    assert settings.arch().depths == (1, 2, 2, 4, 2)
    assert settings.arch().width_multipliers == (0.65, 0.8, 1.0, 0.65, 0.8, 1.0)


@pytest.mark.parametrize(
    ("space_id", "wrong", "message"),
    [
        (MBV3, {"ks": 4}, r"ks\[0\] .* 3, 5, 7, got 4"),
        (MBV3, {"e": 5}, r"e\[0\] .* 3, 4, 6, got 5"),
        (MBV3, {"d": [2, 3]}, "or 5 of them, got 2"),
        (MBV3, {"w": 1}, "no setting 'w'"),
        (MBV3, {"ks": True}, "got True"),
        (PROXYLESS, {"d": [1, 2, 2, 2, 2, 1]}, r"d\[0\] .* 2, 3, 4, got 1"),
        (RESNET, {"ks": 3}, "no setting 'ks'"),
        (RESNET, {"e": 6}, r"e\[0\] .* 0.2, 0.25, 0.35, got 6"),
        (RESNET, {"w": 3}, r"w\[0\] .* 0, 1, 2, got 3"),
    ],
)
def test_wrong_setting_names_the_choices_and_changes_nothing(
    space_id: str, wrong: dict[str, Any], message: str
) -> None:
    settings = settings_of(space_id)
    before = settings.arch()
    with pytest.raises(ArchError, match=message):
        settings.set(wrong)
    assert settings.arch() == before


def test_constraint_restricts_what_is_drawn_until_it_is_cleared() -> None:
    settings = settings_of(MBV3)
    settings.constrain([3], "kernel_size")
    settings.constrain([[2], [2, 3], [4], [4], [4]], "depth")
    drawn = [settings.sample() for _ in range(20)]
    assert {k for draw in drawn for k in draw["ks"]} == {3}
    assert {draw["d"][1] for draw in drawn} == {2, 3}
    settings.clear_constraints()
    assert {k for _ in range(5) for k in settings.sample()["ks"]} == {3, 5, 7}


@pytest.mark.parametrize(
    ("space_id", "include", "kind"),
    [(MBV3, [4], "kernel_size"), (MBV3, [], "depth"), (MBV3, [3], "width"), (RESNET, [1], "depth")],
)
def test_wrong_constraint_is_refused(space_id: str, include: list[int], kind: str) -> None:
    with pytest.raises(ArchError):
        settings_of(space_id).constrain(include, kind)
