import numpy as np
import pytest

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.search import Estimates, EvolutionSettings
from ofa_pipeline.search.additive import additive_part
from ofa_pipeline.search.annealing import AnnealingProblem, AnnealingSettings, anneal
from ofa_pipeline.search.block_moves import BlockMoves
from ofa_pipeline.search.guided import search_guided
from ofa_pipeline.spaces import reference_space
from tests.support.synthetic import (
    RuggedAccuracy,
    every_architecture,
    small_space,
    tiny_space,
    true_accuracy,
    true_latency_ms,
)

BUDGETS = np.array([0.5, 0.6, 0.7])
SHORT = AnnealingSettings(walks=120, steps=60, seed=3)
NO_EVOLUTION = EvolutionSettings(
    population=16, generations=1, patience=1, elite=8, islands=3, filler_niches=0
)


def problem_of(space, accuracy, budgets=BUDGETS):
    def latency(genes):
        return true_latency_ms(space, genes)

    return AnnealingProblem(
        space=space,
        gain=accuracy.trace,
        cost=latency,
        moves=BlockMoves(space, additive_part(space, latency).score),
        budgets=budgets,
        prices=np.full(len(budgets), 0.1),
    )


def best_within(scored, budget):
    return scored.gain[scored.costs[:, 0] <= budget].max()


@pytest.mark.parametrize("seed", range(3))
def test_walks_meet_the_best_of_all_architectures_of_every_budget(seed):
    space = tiny_space()
    accuracy = RuggedAccuracy(space, seed=seed)
    genes = every_architecture(space)
    gain, latency = accuracy.predict(genes)[0], true_latency_ms(space, genes)
    found = anneal(problem_of(space, accuracy), settings=SHORT)
    for budget in BUDGETS:
        assert best_within(found, budget) == pytest.approx(gain[latency <= budget].max())


def test_it_finds_more_than_as_many_random_architectures():
    space = small_space()
    accuracy = RuggedAccuracy(space, seed=5)
    problem = problem_of(space, accuracy, np.array([0.9, 1.3]))
    settings = AnnealingSettings(walks=100, steps=50)
    found = anneal(problem, settings=settings)
    genes = space.sample(np.random.default_rng(0), settings.walks * settings.steps)
    gain, latency = accuracy.predict(genes)[0], true_latency_ms(space, genes)
    for budget in problem.budgets:
        assert best_within(found, budget) > gain[latency <= budget].max()


def test_what_is_returned_is_within_the_largest_budget_once_and_as_evaluated():
    space = small_space()
    accuracy = RuggedAccuracy(space)
    found = anneal(problem_of(space, accuracy), settings=SHORT)
    assert (found.costs <= BUDGETS[-1]).all()
    assert len(np.unique(found.genes, axis=0)) == len(found)
    np.testing.assert_allclose(found.gain, accuracy.predict(found.genes)[0], rtol=1e-12)
    np.testing.assert_allclose(found.costs[:, 0], true_latency_ms(space, found.genes))


def test_equal_seeds_meet_equal_architectures():
    space = small_space()
    problem = problem_of(space, RuggedAccuracy(space))
    first, second = (anneal(problem, settings=SHORT).genes for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_one_budget_that_admits_everything_is_no_special_case():
    space = tiny_space()
    accuracy = RuggedAccuracy(space)
    found = anneal(problem_of(space, accuracy, np.array([99.0])), settings=SHORT)
    assert found.gain.max() == pytest.approx(accuracy.predict(every_architecture(space))[0].max())


def test_a_search_with_slopes_goes_on_from_what_the_walks_met():
    space = small_space()
    accuracy = RuggedAccuracy(space, seed=2)
    num_rows = []

    def trace(genes):
        num_rows.append(len(genes))
        return accuracy.trace(genes)

    def latency(genes):
        return true_latency_ms(space, genes)

    estimates = Estimates(space, accuracy.predict, latency, trace)
    guided = search_guided(estimates, budgets_ms=[0.9], settings=NO_EVOLUTION)
    settings = AnnealingSettings()
    assert num_rows == [settings.walks_per_budget[1]] * (settings.steps + 1)
    genes = space.sample(np.random.default_rng(0), sum(num_rows))
    gain = accuracy.predict(genes)[0]
    best = guided.result.findings[0].best
    assert best.gain[0] > gain[latency(genes) <= 0.9].max()
    assert best.costs[0, 0] <= 0.9


def test_slopes_are_not_asked_for_where_the_search_is_exact():
    space = small_space(num_groups=2)
    weights = np.random.default_rng(0).normal(0, 0.01, int(space.num_choices.sum()))

    def accuracy(genes):
        return 0.8 + space.one_hot(genes) @ weights, np.zeros(len(genes))

    def never(genes):
        raise AssertionError("nothing is left to find")

    estimates = Estimates(space, accuracy, lambda genes: true_latency_ms(space, genes), never)
    guided = search_guided(estimates, budgets_ms=[0.6], settings=NO_EVOLUTION)
    assert guided.gaps is not None


def test_slopes_are_not_asked_for_where_widths_are_elastic():
    space = reference_space("ofa_resnet50")

    def never(genes):
        raise AssertionError("moves of widths are not known")

    def accuracy(genes):
        return true_accuracy(space, genes), np.zeros(len(genes))

    estimates = Estimates(space, accuracy, lambda genes: 1.0 + genes.sum(axis=1), never)
    guided = search_guided(estimates, budgets_ms=[40.0], settings=NO_EVOLUTION)
    assert guided.result.findings[0].best.costs[0, 0] <= 40


def test_a_search_goes_on_where_the_closest_sum_of_latency_is_above_every_budget():
    space = small_space()
    accuracy = RuggedAccuracy(space)

    def latency(genes):
        # All but the smallest network pay a start-up that no sum over blocks has.
        return np.where(genes.any(axis=1), 50.0 + genes.sum(axis=1), 1.0)

    estimates = Estimates(space, accuracy.predict, latency, accuracy.trace)
    guided = search_guided(estimates, budgets_ms=[2.0], settings=NO_EVOLUTION)
    assert space.archs(guided.result.findings[0].best.genes) == [space.smallest]


def test_an_accuracy_that_is_no_number_is_refused_before_any_walk():
    space = small_space()

    def accuracy(genes):
        return np.full(len(genes), np.nan), np.zeros(len(genes))

    def never(genes):
        raise AssertionError("nothing to follow")

    estimates = Estimates(space, accuracy, lambda genes: true_latency_ms(space, genes), never)
    with pytest.raises(ParamsError, match="not finite"):
        search_guided(estimates, budgets_ms=[0.9], settings=NO_EVOLUTION)
