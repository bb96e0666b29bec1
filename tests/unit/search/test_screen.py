import numpy as np
import pytest

from ofa_pipeline.search.island import Island
from ofa_pipeline.search.objectives import Objective, SearchProblem, require_feasible
from ofa_pipeline.search.population import Fingerprints, Niches, Scored, no_scored
from ofa_pipeline.search.screen import Screen
from tests.support.synthetic import small_space, true_accuracy, true_latency_ms


@pytest.fixture(scope="module")
def space():
    return small_space()


def sum_of_choices(space, genes):
    values = space.values(genes)
    return 0.5 + 0.01 * values["expand_ratio"].sum(axis=1) + 0.02 * genes[:, 0]


def taught(space, *, score, batches=6):
    screen, rng = Screen(space), np.random.default_rng(0)
    for _ in range(batches):
        genes = space.sample(rng, 2000)
        screen.learn(genes, score(space, genes))
    return screen


def test_a_screen_that_has_learned_little_is_not_ready(space):
    screen = Screen(space)
    genes = space.sample(np.random.default_rng(0), 50)
    screen.learn(genes, sum_of_choices(space, genes))
    assert not screen.is_ready
    assert screen.error == np.inf


def test_a_sum_is_learned_nearly_exactly(space):
    screen = taught(space, score=sum_of_choices)
    genes = space.sample(np.random.default_rng(1), 300)
    assert screen.is_ready
    assert np.abs(screen.predict(genes) - sum_of_choices(space, genes)).max() < 1e-3


def test_the_error_is_what_the_sum_misses(space):
    screen = taught(space, score=true_accuracy)
    genes = space.sample(np.random.default_rng(1), 3000)
    missed = np.sqrt(((screen.predict(genes) - true_accuracy(space, genes)) ** 2).mean())
    assert screen.error == pytest.approx(missed, rel=0.2)


def test_unseen_rows_are_not_remembered_and_new_rows_are(space):
    seen = Fingerprints(space)
    genes = space.sample(np.random.default_rng(0), 3)[[0, 1, 0, 2]]
    assert list(seen.unseen_rows(genes)) == [0, 1, 3]
    assert list(seen.new_rows(genes)) == [0, 1, 3]
    assert list(seen.unseen_rows(genes)) == []


def test_the_bar_is_the_lowest_of_the_niches_that_admit_an_architecture(space):
    niches = Niches(np.array([[1.0], [2.0], [3.0]]), no_scored(space, 1), size=1, front_size=9)
    genes = space.sample(np.random.default_rng(0), 2)
    niches.add(Scored(genes, np.array([0.5, 0.7]), np.array([[0.9], [1.9]])))
    bars = niches.bars(np.array([[0.5], [1.5], [2.5], [3.5]]))
    np.testing.assert_array_equal(bars, [0.5, 0.7, 0.7, np.inf])


def test_hopeless_architectures_are_not_evaluated(space):
    problem = SearchProblem(
        space=space,
        gain=Objective("accuracy_top1", lambda genes: true_accuracy(space, genes)),
        costs=(Objective("latency_ms", lambda genes: true_latency_ms(space, genes)),),
        budgets=np.array([[1.0], [2.0]]),
    )
    rng = np.random.default_rng(0)
    island = Island(problem, problem.budgets, rng, population=1000, elite=20)
    island.begin(require_feasible(problem, rng=rng), space.sample(rng, 0))
    for generation in range(12):
        island.step(generation)
    assert island.screen.is_ready
    assert island.num_evaluated < island.num_considered


def test_polishing_counts_as_candidates_what_it_evaluates(space):
    problem = SearchProblem(
        space=space,
        gain=Objective("accuracy_top1", lambda genes: true_accuracy(space, genes)),
        costs=(Objective("latency_ms", lambda genes: true_latency_ms(space, genes)),),
        budgets=np.array([[2.0]]),
    )
    rng = np.random.default_rng(0)
    island = Island(problem, problem.budgets, rng, population=50, elite=20)
    island.begin(require_feasible(problem, rng=rng), space.sample(rng, 0))
    island.polish()
    assert 0 < island.num_evaluated <= island.num_considered
