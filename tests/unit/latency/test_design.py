import numpy as np
import pytest

from ofa_pipeline.cost import latency_features
from ofa_pipeline.latency import design_subnets
from tests.support.synthetic import small_space


def design(space, *, num_subnets=20, num_holdout=10, seed=0):
    return design_subnets(
        space, num_classes=10, num_subnets=num_subnets, num_holdout=num_holdout, seed=seed
    )


def test_design_begins_with_the_ends_of_the_space():
    space = small_space()
    fit, _ = design(space)
    assert space.archs(fit[:2]) == [space.smallest, space.largest]


def test_no_subnet_is_both_fitted_to_and_held_out():
    fit, holdout = design(small_space())
    assert len(np.unique(np.concatenate([fit, holdout]), axis=0)) == 30


def test_equal_seeds_give_equal_designs_and_others_other_ones():
    space = small_space()
    first, second, third = (design(space, seed=seed) for seed in (1, 1, 2))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()
    assert (first[1] != third[1]).any()


def test_design_tells_more_than_random_subnets():
    space = small_space()

    def information(genes):
        _, features = latency_features(space, genes, num_classes=10)
        return np.linalg.slogdet(np.cov((features / scale).T) + 1e-6 * np.eye(len(scale)))[1]

    _, everywhere = latency_features(
        space, space.sample(np.random.default_rng(5), 500), num_classes=10
    )
    scale = everywhere.std(axis=0) + 1e-9
    fit, holdout = design(space, num_subnets=30, num_holdout=30)
    assert information(fit) > information(holdout)


@pytest.mark.parametrize("num_subnets", [1, 5, 1000])
def test_a_small_space_gives_at_most_what_it_holds(num_subnets):
    space = small_space(resolutions_px=(16,), num_groups=1, depths=(1,))
    fit, holdout = design(space, num_subnets=num_subnets, num_holdout=1000)
    assert len(fit) == min(num_subnets, space.num_archs)
    assert len(fit) + len(holdout) <= space.num_archs
