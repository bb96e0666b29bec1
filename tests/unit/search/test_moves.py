import numpy as np
import pytest

from ofa_pipeline.search import Objective, SearchProblem
from ofa_pipeline.search.acquisition import choose_rows, propose
from ofa_pipeline.search.moves import crossed_over, promising_pairs
from ofa_pipeline.search.neighborhood import one_gene_changes
from tests.support.synthetic import neighbors_of, small_space, true_accuracy


@pytest.fixture(scope="module")
def space():
    return small_space()


def test_one_gene_changes_are_the_neighbors(space):
    genes = space.sample(np.random.default_rng(0), 3)
    changed = np.unique(one_gene_changes(space, genes), axis=0)
    known = {row.tobytes() for row in genes}
    ours = {row.tobytes() for row in changed} - known
    assert ours == {row.tobytes() for row in neighbors_of(space, genes)}


def test_children_take_every_gene_from_a_parent(space):
    rng = np.random.default_rng(0)
    first, second = space.sample(rng, 200), space.sample(rng, 200)
    children = crossed_over(space, first, second, rng)
    np.testing.assert_array_equal(space.canonicalize(children), children)
    depth = space.columns["depth"]
    inherited = (children[:, depth] == first[:, depth]) | (children[:, depth] == second[:, depth])
    assert inherited.all()
    assert (children != first).any()


def test_pairs_of_changes_stay_within_the_limits_where_costs_are_sums(space):
    problem = SearchProblem(
        space=space,
        gain=Objective("accuracy_top1", lambda genes: true_accuracy(space, genes)),
        costs=(Objective("size", lambda g: space.values(g)["expand_ratio"].sum(axis=1)),),
        budgets=np.array([[15.0]]),
    )
    genes = space.genes([space.arch(depths=2, expand_ratios=2.0)])
    limits = np.array([14.0])
    pairs = promising_pairs(problem, genes, limits=limits, count=50)
    assert 0 < len(pairs) <= 50
    gains = true_accuracy(space, pairs)
    assert gains.max() > true_accuracy(space, genes)[0]


def test_half_is_chosen_by_the_mean_and_half_by_what_might_be():
    mean = np.array([0.9, 0.8, 0.7, 0.1])
    std = np.array([0.0, 0.0, 0.0, 1.0])
    chosen = choose_rows(mean, std, is_taken=np.zeros(4, dtype=bool), count=2)
    assert [(one.row, one.role) for one in chosen] == [(0, "exploit"), (3, "explore")]


def test_what_is_taken_is_not_chosen_again():
    mean, std = np.arange(3.0), np.zeros(3)
    chosen = choose_rows(mean, std, is_taken=np.array([False, False, True]), count=5)
    assert sorted(one.row for one in chosen) == [0, 1]


def test_every_budget_gets_its_turn():
    latency = np.array([1.0, 2.0, 3.0, 4.0])
    rows = propose(
        np.arange(4.0),
        np.zeros(4),
        within=latency[:, None] <= np.array([[1.0, 4.0]]),
        is_taken=np.zeros(4, dtype=bool),
        count=2,
    )
    assert sorted(rows) == [0, 3]


def test_no_more_than_the_pool_is_proposed():
    rows = propose(
        np.arange(3.0),
        np.zeros(3),
        within=np.ones((3, 1), dtype=bool),
        is_taken=np.zeros(3, dtype=bool),
        count=10,
    )
    assert sorted(rows) == [0, 1, 2]
