"""Coupled spaces: every way to an architecture ends inside them."""

import dataclasses
import itertools

import numpy as np
import pytest

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.errors import ArchError
from ofa_pipeline.spaces import mobilenet_v3, proxyless, resnet50
from tests.support.synthetic import small_space

FIXED_KERNELS = [[3], [5], [3], [3], [5]]


@pytest.fixture(scope="module")
def compound():
    """The space of CompOFA at one image size."""
    whole = mobilenet_v3(width_multiplier=1.0)
    return whole.restrict(resolutions_px=[224], kernel_sizes=FIXED_KERNELS, is_coupled=True)


@pytest.fixture(scope="module")
def elastic_kernels():
    return small_space(num_groups=2).restrict(is_coupled=True)


def assert_all_inside(space, genes):
    for arch in space.archs(genes):
        space.check(arch)
        ratios = iter(arch.expand_ratios)
        for depth, group in zip(arch.depths, space.block_groups, strict=True):
            pair = group.expand_ratios[group.depths.index(depth)]
            assert {next(ratios) for _ in range(depth)} == {pair}


def test_compofa_has_exactly_243_subnets(compound):
    everything = [compound.arch(depths=list(d)) for d in itertools.product((2, 3, 4), repeat=5)]
    assert compound.num_archs == 243 == len(set(everything))
    drawn = set(compound.archs(compound.sample(np.random.default_rng(0), 20_000)))
    assert drawn == set(everything)


def test_the_ends_are_those_of_the_pairs(compound):
    assert compound.smallest == compound.arch(depths=2, expand_ratios=3)
    assert compound.largest == compound.arch(depths=4, expand_ratios=6)
    assert compound.arch(depths=[2, 3, 4, 2, 3]).expand_ratios == (
        (3.0,) * 2 + (4.0,) * 3 + (6.0,) * 4 + (3.0,) * 2 + (4.0,) * 3
    )


def test_mutation_and_crossover_stay_inside(elastic_kernels):
    space, rng = elastic_kernels, np.random.default_rng(0)
    genes = space.sample(rng, 300)
    assert_all_inside(space, genes)
    mutated = space.mutate(genes, rng, probability=0.5)
    assert_all_inside(space, mutated)
    crossed = space.crossover(genes, mutated, rng)
    assert_all_inside(space, crossed)
    # No gene claims another ratio than the one that runs: estimates look at genes.
    for rows in (genes, mutated, crossed):
        np.testing.assert_array_equal(space.genes(space.archs(rows)), rows)


def test_uniform_draws_see_every_depth_and_kernel(elastic_kernels):
    values = elastic_kernels.values(elastic_kernels.sample(np.random.default_rng(0), 500))
    assert set(values["depth"].ravel()) == {1, 2, 3}
    assert set(values["kernel_size"].ravel()) == {0, 3, 5, 7}


def test_an_uncoupled_architecture_is_refused_with_the_ratio_of_the_depth(compound):
    with pytest.raises(
        ArchError, match=r"expand_ratios\[0\] .* with depth 2 must be one of 3, got 6"
    ):
        compound.arch(depths=2, expand_ratios=6)
    arch = Arch(
        resolution_px=224,
        depths=(2, 2, 2, 2, 2),
        kernel_sizes=(3, 3, 5, 5, 3, 3, 3, 3, 5, 5),
        expand_ratios=(3,) * 9 + (4,),
    )
    with pytest.raises(ArchError, match=r"expand_ratios\[9\] .* must be one of 3, got 4"):
        compound.genes([arch])


def test_a_space_without_a_ratio_for_every_depth_cannot_be_coupled():
    with pytest.raises(
        ArchError, match=r"block_groups\[5\] .* has depths 1 and expand ratios 3, 4, 6"
    ):
        proxyless(width_multiplier=1.3).restrict(is_coupled=True)


def test_a_group_with_one_ratio_has_nothing_to_couple():
    space = resnet50().restrict(is_coupled=True)
    assert_drawn = space.archs(space.sample(np.random.default_rng(0), 50))
    assert {arch.depths[0] for arch in assert_drawn} == {0, 1}
    for arch in assert_drawn:
        space.check(arch)


def test_a_part_keeps_whole_pairs(compound):
    part = compound.restrict(depths=[3, 4], expand_ratios=[4, 6])
    assert part.is_coupled
    assert part.num_archs == 2**5
    with pytest.raises(ArchError, match="depths 2, 3 must come with the expand ratios 3, 4"):
        compound.restrict(depths=[2, 3], expand_ratios=[4, 6])
    with pytest.raises(ArchError, match="depths 2, 3, 4 must come with"):
        compound.restrict(expand_ratios=[6])


def test_kernel_sizes_are_one_list_or_one_for_each_group():
    space = mobilenet_v3(width_multiplier=1.0)
    fixed = space.restrict(kernel_sizes=FIXED_KERNELS)
    assert [group.kernel_sizes for group in fixed.block_groups] == [(3,), (5,), (3,), (3,), (5,)]
    with pytest.raises(ArchError, match=r"kernel_sizes .* one for each of the 5 block groups"):
        space.restrict(kernel_sizes=[[3], [5]])
    with pytest.raises(ArchError, match=r"kernel_sizes\[1\] .* must be one of 3, 5, 7, got 9"):
        space.restrict(kernel_sizes=[[3], [9], [3], [3], [5]])


def test_only_a_coupled_space_says_so_when_written(compound):
    assert SearchSpace.from_dict(compound.to_dict()) == compound
    uncoupled = dataclasses.replace(compound, is_coupled=False)
    assert "is_coupled" not in uncoupled.to_dict()
    assert SearchSpace.from_dict(uncoupled.to_dict()) == uncoupled
    assert uncoupled.digest != compound.digest
