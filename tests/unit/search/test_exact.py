import itertools

import numpy as np
import pytest

from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.errors import ArchError
from ofa_pipeline.search.additive import additive_part, fit_additive
from ofa_pipeline.search.exact import exact_front, optimality_gaps
from ofa_pipeline.spaces import reference_space
from tests.support.synthetic import small_space, true_accuracy, true_latency_ms


@pytest.fixture(scope="module")
def space():
    return small_space(num_groups=2, depths=(1, 2), resolutions_px=(16, 28))


@pytest.fixture(scope="module")
def everything(space):
    choices = [range(count) for count in space.num_choices]
    genes = np.array(list(itertools.product(*choices)), dtype=np.int8)
    return np.unique(space.canonicalize(genes), axis=0)


@pytest.fixture(scope="module")
def sums(space):
    """Latency as it is, and the sum that comes closest to the accuracy."""
    sample = space.sample(np.random.default_rng(0), 500)
    accuracy = fit_additive(
        space, sample, true_accuracy(space, sample), score=lambda g: true_accuracy(space, g)
    )
    latency = additive_part(space, lambda genes: true_latency_ms(space, genes))
    return accuracy, latency


def test_a_sum_is_found_out_exactly(space, sums, everything):
    accuracy, latency = sums
    assert latency.is_exact
    assert not accuracy.is_exact
    np.testing.assert_allclose(latency.score(everything), true_latency_ms(space, everything))


def test_macs_and_parameters_are_sums(space):
    for name in ("macs", "num_params"):

        def count(genes, name=name):
            return getattr(estimate_cost(space, genes, num_classes=10), name).astype(float)

        assert additive_part(space, count).is_exact


def test_the_fitted_sum_comes_close_to_what_is_no_sum(sums):
    accuracy, _ = sums
    assert 0 < accuracy.max_error < 0.02


def test_every_budget_gets_the_best_of_all_architectures(sums, everything):
    accuracy, latency = sums[0].score, sums[1].score
    exact = exact_front(accuracy, latency, max_cost=0.9)
    gains, costs = accuracy(everything), latency(everything)
    for budget in np.linspace(costs.min(), 0.9, 40):
        best = exact.best_within(budget)
        assert best.costs[0, 0] <= budget
        assert best.gain[0] == pytest.approx(gains[costs <= budget].max(), abs=1e-12)
    assert exact.max_loss == 0


def test_a_tolerance_loses_no_more_than_it_says(sums, everything):
    accuracy, latency = sums[0].score, sums[1].score
    rough = exact_front(accuracy, latency, max_cost=0.9, tolerance=1e-3)
    gains, costs = accuracy(everything), latency(everything)
    for budget in np.linspace(costs.min(), 0.9, 40):
        loss = gains[costs <= budget].max() - rough.best_within(budget).gain[0]
        assert -1e-12 <= loss <= rough.max_loss


def test_networks_of_the_front_are_canonical_and_of_the_space(space, sums):
    exact = exact_front(sums[0].score, sums[1].score, max_cost=2.0)
    genes = space.check_genes(exact.front.genes)
    np.testing.assert_array_equal(space.canonicalize(genes), genes)


def test_an_impossible_budget_gives_an_empty_front(sums):
    exact = exact_front(sums[0].score, sums[1].score, max_cost=0.01)
    assert len(exact.front) == len(exact.best_within(0.01)) == 0


def test_the_gap_is_what_a_search_missed(sums):
    exact = exact_front(sums[0].score, sums[1].score, max_cost=0.9)
    best = float(exact.best_within(0.6).gain[0])
    assert optimality_gaps(exact, [0.6, 0.6], [best, best - 0.01]) == pytest.approx([0.0, 0.01])


def test_elastic_widths_are_refused():
    space = reference_space("ofa_resnet50")
    with pytest.raises(ArchError, match="elastic widths"):
        additive_part(space, lambda genes: np.zeros(len(genes)))


def test_the_front_of_a_coupled_space_is_the_best_of_all_its_architectures():
    space = small_space(num_groups=2, resolutions_px=(16, 28))
    coupled = space.restrict(kernel_sizes=[3, 7], is_coupled=True)
    every = np.unique(coupled.sample(np.random.default_rng(0), 30_000), axis=0)
    assert len(every) == coupled.num_archs
    latency = additive_part(coupled, lambda rows: true_latency_ms(coupled, rows))
    params = additive_part(
        coupled,
        lambda rows: estimate_cost(coupled, rows, num_classes=10).num_params.astype(float),
    )
    assert latency.is_exact
    assert params.is_exact
    exact = exact_front(params.score, latency.score, max_cost=0.9)
    for row in exact.front.genes:
        np.testing.assert_array_equal(coupled.canonicalize(row[None])[0], row)
    costs, gains = latency.score(every), params.score(every)
    for budget in (costs.min(), 0.6, 0.7, 0.9):
        best = exact.best_within(budget)
        assert best.gain[0] == gains[costs <= budget].max()
