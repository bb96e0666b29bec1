import dataclasses

import numpy as np

from ofa_pipeline.training import Fixed, Sampled, derive_seed
from tests.support.training import tiny_phase, tiny_space


def test_the_subnets_of_a_step_share_one_resolution():
    source = Sampled(space=tiny_space(), per_step=4)
    for seed in range(10):
        archs = source.draw(np.random.default_rng(seed))
        assert len(archs) == 4
        assert len({arch.resolution_px for arch in archs}) == 1


def test_resolutions_and_subnets_vary_from_step_to_step():
    source = Sampled(space=tiny_space(), per_step=1)
    archs = [source.draw(np.random.default_rng(seed))[0] for seed in range(30)]
    assert {arch.resolution_px for arch in archs} == {8, 12}
    assert len(set(archs)) > 15


def test_a_phase_draws_only_what_it_made_elastic():
    space = tiny_space().restrict(depths=[2], kernel_sizes=[5])
    archs = Sampled(space=space, per_step=8).draw(np.random.default_rng(0))
    assert {arch.depths for arch in archs} == {(2, 2)}
    assert {size for arch in archs for size in arch.kernel_sizes} == {5}
    for arch in archs:
        tiny_space().check(arch)


def test_a_sandwich_has_both_ends_and_uniform_draws_each_at_its_own_image_size():
    space = tiny_space()
    source = Sampled(space=space, per_step=5, sampling="sandwich")
    rest = []
    for seed in range(10):
        archs = source.draw(np.random.default_rng(seed))
        assert list(archs[:2]) == [space.largest, space.smallest]
        rest.append(tuple(archs[2:]))
    assert len(set(rest)) == 10
    assert any(len({arch.resolution_px for arch in archs}) > 1 for archs in rest)


def test_the_smallest_of_a_sandwich_may_be_drawn_at_every_image_size():
    space = tiny_space()
    plain = Sampled(space=space, per_step=4, sampling="sandwich")
    drawn = dataclasses.replace(plain, resolution="drawn")
    sizes = set()
    for seed in range(20):
        largest, smallest, *rest = drawn.draw(np.random.default_rng(seed))
        assert largest == space.largest
        assert dataclasses.replace(smallest, resolution_px=8) == space.smallest
        assert rest == list(plain.draw(np.random.default_rng(seed)))[2:]  # others as without it
        sizes.add(smallest.resolution_px)
    assert sizes == set(space.resolutions_px)
    assert not drawn.shares_resolution


def test_the_largest_alone_is_drawn_at_its_own_image_size():
    space = tiny_space().restrict(depths=[2])
    source = Sampled(space=space, per_step=1, sampling="largest")
    assert list(source.draw(np.random.default_rng(0))) == [tiny_space().largest]


def test_uniform_draws_of_a_step_share_an_image_size():
    source = Sampled(space=tiny_space(), per_step=4)
    sizes = [{a.resolution_px for a in source.draw(np.random.default_rng(s))} for s in range(10)]
    assert all(len(of_step) == 1 for of_step in sizes)
    assert len(set.union(*sizes)) > 1


def test_shares_of_a_step_sum_to_one():
    phase = tiny_phase()
    assert phase.shares(4) == (0.25,) * 4
    assert dataclasses.replace(phase, first_share=0.5).shares(3) == (0.5, 0.25, 0.25)
    assert dataclasses.replace(phase, first_share=0.5).shares(1) == (1.0,)


def test_a_fixed_architecture_is_all_that_is_drawn():
    arch = tiny_space().smallest
    assert list(Fixed(arch=arch).draw(np.random.default_rng(0))) == [arch]


def test_seeds_differ_by_every_label_and_fit_both_generators():
    seeds = {derive_seed(0, "kernel", step, purpose) for step in range(50) for purpose in "ab"}
    assert len(seeds) == 100
    assert derive_seed(0, "kernel", 1) == derive_seed(0, "kernel", 1)
    assert all(0 <= seed < 2**63 for seed in seeds)
