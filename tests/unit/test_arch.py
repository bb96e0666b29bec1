"""Architectures and search spaces: canonical values, gene arrays, and clear refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_pipeline.arch import (
    Arch,
    SearchSpace,
    expanded_channels,
    make_divisible,
    resolution_choices,
    resolution_values_px,
    squeezed_channels,
)
from ofa_pipeline.errors import ArchError
from ofa_pipeline.spaces import mobilenet_v3, resnet50
from tests.support.networks import tiny_space

SPACES = {
    "tiny": tiny_space(),
    "mobilenet": mobilenet_v3(width_multiplier=1.0),
    "resnet": resnet50(),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
seeds = st.integers(0, 2**32 - 1)
quickly = settings(max_examples=20, deadline=None)


def drawn(space: SearchSpace, seed: int, count: int = 8) -> np.ndarray:
    return space.sample(np.random.default_rng(seed), count)


# ---- channel counts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"), [(19.2, 24), (16, 16), (1, 8), (28.8, 32), (160 * 1.2, 192), (20.8, 24)]
)
def test_channels_are_rounded_as_in_mobilenet(value, expected):
    assert make_divisible(value) == expected


@given(st.floats(1, 5000))
def test_rounding_never_loses_more_than_a_tenth(value):
    rounded = make_divisible(value)
    assert rounded % 8 == 0
    assert rounded >= 0.9 * value or rounded == 8


@pytest.mark.parametrize(("channels", "hidden"), [(72, 24), (144, 40), (960, 240), (544, 136)])
def test_squeeze_excite_has_the_golden_hidden_units(channels, hidden):
    assert squeezed_channels(channels) == hidden


def test_expanded_channels_round_half_to_even_first():
    assert expanded_channels(1640, 0.35) == 576
    assert expanded_channels(24, 6.0) == 144


# ---- Arch ------------------------------------------------------------------------------------


@every_space
@given(seed=seeds)
@quickly
def test_architectures_go_through_dict_json_and_genes_unchanged(space, seed):
    genes = drawn(space, seed)
    archs = space.archs(genes)
    assert [Arch.from_dict(arch.to_dict()) for arch in archs] == archs
    assert [Arch.from_dict(json.loads(json.dumps(arch.to_dict()))) for arch in archs] == archs
    assert np.array_equal(space.genes(archs), genes)


@every_space
@given(seed=seeds)
@quickly
def test_equal_architectures_have_equal_ids_and_others_do_not(space, seed):
    archs = space.archs(drawn(space, seed))
    again = [Arch.from_dict(arch.to_dict()) for arch in archs]
    assert [arch.arch_id for arch in again] == [arch.arch_id for arch in archs]
    assert len({arch.arch_id for arch in archs}) == len(set(archs))


def test_number_types_are_normalized():
    as_numpy = Arch(
        resolution_px=np.int64(8),
        depths=np.array([1]),
        kernel_sizes=[np.int8(3)],
        expand_ratios=[2],
    )
    plain = Arch(resolution_px=8, depths=(1,), kernel_sizes=(3,), expand_ratios=(2.0,))
    assert as_numpy == plain
    assert as_numpy.arch_id == plain.arch_id


def test_lists_that_do_not_match_the_depths_are_refused():
    with pytest.raises(ArchError, match=r"Arch\.kernel_sizes must have one entry a block.* 2 for"):
        Arch(resolution_px=8, depths=(2,), kernel_sizes=(3,), expand_ratios=(2.0, 2.0))


def test_a_dict_with_other_keys_is_refused():
    with pytest.raises(ArchError, match=r"not an architecture.*ks"):
        Arch.from_dict({"ks": 7})


def test_the_readable_form_groups_blocks():
    arch = tiny_space().arch(resolution_px=8, depths=[1, 2], kernel_sizes=5, expand_ratios=3.0)
    assert str(arch) == "r8 d1-2 k5-5,5 e3-3,3"


# ---- SearchSpace: building and checking ------------------------------------------------------


@every_space
def test_largest_and_smallest_hold_the_extremes(space):
    for arch, end in ((space.largest, -1), (space.smallest, 0)):
        assert arch.resolution_px == space.resolutions_px[end]
        assert arch.depths == tuple(group.depths[end] for group in space.block_groups)
        space.check(arch)


def test_the_number_of_architectures_is_exact():
    assert tiny_space().num_archs == 2 * (9 + 81) ** 2
    assert resnet50().num_archs % 3**6 == 0
    groups = [9 * 9 + 9**3 + 9**4] * 5
    assert mobilenet_v3(width_multiplier=1.0).num_archs == 25 * np.prod(groups, dtype=object)


def test_lists_may_name_every_slot_or_every_block_that_runs():
    space = tiny_space()
    by_slot = space.arch(depths=[1, 2], kernel_sizes=[3, 7, 5, 7])
    by_block = space.arch(depths=[1, 2], kernel_sizes=[3, 5, 7])
    assert by_slot == by_block
    assert by_slot.kernel_sizes == (3, 5, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_sizes": 4}, r"kernel_sizes\[0\] .*must be one of 3, 5, 7, got 4"),
        ({"expand_ratios": 5.0}, r"expand_ratios\[0\] .*one of 2, 3, 4, got 5"),
        ({"depths": 3}, r"depths\[0\] .*must be one of 1, 2, got 3"),
        ({"resolution_px": 10}, "resolution_px .*must be one of 8, 12, got 10"),
        ({"depths": [1]}, "depths must have 2 entries, got 1"),
        ({"kernel_sizes": [3, 3]}, "kernel_sizes must have 4 entries, got 2"),
        ({"width_multipliers": [1.0]}, "width_multipliers must have 0 entries, got 1"),
    ],
)
def test_values_outside_the_space_are_refused_with_the_choices(arguments, message):
    with pytest.raises(ArchError, match=message):
        tiny_space().arch(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (1, 2, 1), "kernel_sizes": (3,) * 4, "expand_ratios": (2.0,) * 4}, "depths"),
        ({"width_multipliers": (1.0,)}, "width_multipliers of .* must have 0 entries"),
    ],
)
def test_architectures_of_another_shape_are_refused(changes, message):
    with pytest.raises(ArchError, match=message):
        tiny_space().check(replace(tiny_space().largest, **changes))


@pytest.mark.parametrize("choices", [(), (3, 3), (5, 3), (4,)])
def test_choices_must_be_ascending_odd_and_there(choices):
    space = tiny_space()
    groups = (replace(space.block_groups[0], kernel_sizes=choices), space.block_groups[1])
    with pytest.raises(ArchError, match=r"block_groups\[0\]\.kernel_sizes must be"):
        replace(space, block_groups=groups)


def test_a_restricted_space_has_fewer_architectures_that_the_whole_has_too():
    space = tiny_space()
    phase = space.restrict(kernel_sizes=[7], expand_ratios=[3.0, 4.0], resolutions_px=[8])
    assert phase.num_archs == (2 + 4) ** 2
    for arch in phase.archs(drawn(phase, 0)):
        space.check(arch)
        assert arch.resolution_px == 8


def test_restricting_to_what_is_not_there_is_refused():
    with pytest.raises(ArchError, match=r"kernel_sizes of .* must be one of 3, 5, 7, got 9"):
        tiny_space().restrict(kernel_sizes=[9])
    with pytest.raises(ArchError, match=r"resolutions_px of .* must be one of 8, 12, got 9"):
        tiny_space().restrict(resolutions_px=[9])


def test_depths_may_be_restricted_for_each_group():
    space = resnet50().restrict(depths=[[1], [3, 4], [4], [5, 6], [2]])
    assert [group.depths for group in space.block_groups] == [(1,), (3, 4), (4,), (5, 6), (2,)]
    shared = tiny_space().restrict(depths=[2])
    assert [group.depths for group in shared.block_groups] == [(2,), (2,)]


@pytest.mark.parametrize(
    ("depths", "message"),
    [
        ([[1], [2]], "one list of choices or one for each of the 5 block groups"),
        ([[1], [2], [2], [4], 2], "one list of choices or one for each of the 5 block groups"),
        ([[1], [2], [2], [3], [2]], r"depths\[3\] of ofa_resnet50 must be one of 4, 5, 6, got 3"),
        ([7], "depths of ofa_resnet50 must be one of 0, 1, 2, 3, 4, 5, 6, got 7"),
    ],
)
def test_depths_that_no_group_has_are_refused(depths, message):
    with pytest.raises(ArchError, match=message):
        resnet50().restrict(depths=depths)


def test_restricting_leaves_dimensions_without_choice_alone():
    space = resnet50().restrict(expand_ratios=[0.35], width_multipliers=[1.0])
    assert space.block_groups[0].expand_ratios == (1.0,)
    assert space.block_groups[1].expand_ratios == (0.35,)
    assert space.width_multipliers == (1.0,)


# ---- SearchSpace: genes ----------------------------------------------------------------------


@every_space
@given(seed=seeds)
@quickly
def test_sampling_gives_canonical_genes_and_follows_the_seed(space, seed):
    genes = drawn(space, seed)
    assert genes.dtype == np.int8
    assert np.array_equal(space.check_genes(genes), genes)
    assert np.array_equal(space.canonicalize(genes), genes)
    assert np.array_equal(drawn(space, seed), genes)


def test_sampling_reaches_every_choice_of_every_gene():
    space = tiny_space()
    genes = drawn(space, 0, 4000)
    for gene, count in enumerate(space.num_choices):
        assert set(genes[:, gene]) == set(range(count))


@every_space
@given(seed=seeds, probability=st.sampled_from([0.0, 0.1, 1.0]))
@quickly
def test_mutants_are_canonical_and_unchanged_at_probability_zero(space, seed, probability):
    genes = drawn(space, seed)
    before = genes.copy()
    mutants = space.mutate(genes, np.random.default_rng(seed), probability=probability)
    assert np.array_equal(genes, before)
    assert np.array_equal(space.canonicalize(space.check_genes(mutants)), mutants)
    if probability == 0:
        assert np.array_equal(mutants, genes)


@every_space
@given(seed=seeds)
@quickly
def test_children_are_canonical_and_take_every_gene_from_a_parent(space, seed):
    first, second = drawn(space, seed), drawn(space, seed + 1)
    children = space.crossover(first, second, np.random.default_rng(seed))
    assert np.array_equal(space.canonicalize(space.check_genes(children)), children)
    runs = space.active_blocks(children)
    is_inherited = (children == first) | (children == second)
    for name in ("resolution", "width", "depth"):
        assert is_inherited[:, space.columns[name]].all()
    for name in ("kernel_size", "expand_ratio"):
        assert is_inherited[:, space.columns[name]][runs].all()


def test_a_child_of_twins_is_their_twin():
    space = tiny_space()
    genes = drawn(space, 0)
    assert np.array_equal(space.crossover(genes, genes, np.random.default_rng(0)), genes)


@every_space
def test_one_hot_marks_one_choice_a_gene_and_nothing_of_skipped_blocks(space):
    genes = drawn(space, 1)
    encoded = space.one_hot(genes)
    assert encoded.shape == (len(genes), space.num_choices.sum())
    ones = 1 + space.num_width_sites + len(space.block_groups)
    assert np.array_equal(encoded.sum(axis=1), ones + 2 * space.active_blocks(genes).sum(axis=1))


@every_space
def test_values_of_skipped_blocks_are_zero(space):
    genes = drawn(space, 2)
    runs = space.active_blocks(genes)
    values = space.values(genes)
    assert (values["kernel_size"][~runs] == 0).all()
    assert (values["expand_ratio"][runs] > 0).all()


def test_genes_of_another_shape_or_range_are_refused():
    space = tiny_space()
    with pytest.raises(ArchError, match=r"must have shape \(architectures, 11\), got \(2, 3\)"):
        space.check_genes(np.zeros((2, 3), dtype=np.int8))
    genes = drawn(space, 0)
    genes[1, 0] = 2
    with pytest.raises(ArchError, match=r"gene 0 of row 1 must be in 0\.\.1, got 2"):
        space.archs(genes)


# ---- SearchSpace: identity -------------------------------------------------------------------


@every_space
def test_spaces_go_through_json_unchanged(space):
    again = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space
    assert again.digest == space.digest


def test_the_digest_changes_with_any_choice_or_channel_count():
    space = tiny_space()
    others = [
        space.restrict(kernel_sizes=[3, 5]),
        replace(space, resolutions_px=(8,)),
        replace(space, backbone=replace(space.backbone, final_channels=48)),
    ]
    assert len({space.digest, *(other.digest for other in others)}) == 4


def test_what_is_not_a_space_is_refused():
    with pytest.raises(ArchError, match="not a search space"):
        SearchSpace.from_dict({"space_id": "x"})
    values = tiny_space().to_dict()
    values["backbone"]["kind"] = "vit"
    with pytest.raises(ArchError, match="not a search space"):
        SearchSpace.from_dict(values)


def test_resolutions_of_genes_are_those_of_their_archs():
    space = tiny_space()
    genes = space.sample(np.random.default_rng(0), 20)
    expected = [arch.resolution_px for arch in space.archs(genes)]
    assert len(set(expected)) > 1
    assert resolution_values_px(space, genes).tolist() == expected
    choices = resolution_choices(space, genes)
    assert [space.resolutions_px[choice] for choice in choices] == expected
