import numpy as np
import pytest

from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.evaluation import initial_design
from ofa_pipeline.spaces import reference_space
from tests.support.synthetic import small_space
from tests.support.training import tiny_space


@pytest.mark.parametrize(
    "space", [small_space(), reference_space("ofa_mbv3_d234_e346_k357_w1.0")], ids=["demo", "w1.0"]
)
def test_the_design_spreads_over_sizes_and_holds_both_ends(space):
    genes = initial_design(space, num_archs=40, num_classes=10, seed=0)
    assert len(np.unique(genes, axis=0)) == 40
    assert np.array_equal(genes, space.canonicalize(genes))
    archs = space.archs(genes)
    assert archs[0] == space.smallest
    assert archs[-1] == space.largest
    log_macs = np.log(estimate_cost(space, genes, num_classes=10).macs)
    assert (np.diff(log_macs) >= 0).all()
    # No gap is wider than a few strata.
    assert np.diff(log_macs).max() < 5 * (log_macs[-1] - log_macs[0]) / 40


def test_every_choice_of_every_gene_is_seen():
    space = small_space()
    genes = initial_design(space, num_archs=100, num_classes=10, seed=0)
    active = space.active_blocks(genes)
    for name in ("kernel_size", "expand_ratio"):
        values = space.values(genes)[name]
        for block in range(space.num_blocks):
            assert len(set(values[active[:, block], block])) == 3


def test_equal_seeds_give_equal_designs():
    first, second, other = (
        initial_design(small_space(), num_archs=20, num_classes=10, seed=seed) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_space_with_few_architectures_gives_them_all():
    space = tiny_space().restrict(depths=[1], kernel_sizes=[3])
    genes = initial_design(space, num_archs=50, num_classes=3, seed=0)
    assert len(genes) == space.num_archs == 8
