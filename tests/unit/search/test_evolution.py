import numpy as np
import pytest

from ofa_pipeline.errors import InfeasibleConstraintError, ParamsError
from ofa_pipeline.search import (
    Estimates,
    EvolutionSettings,
    Objective,
    SearchProblem,
    check_budgets,
    evolve,
    find_cheapest,
    search_front,
)
from tests.support.synthetic import (
    every_architecture,
    small_space,
    tiny_space,
    true_accuracy,
    true_latency_ms,
)

SMALL = {
    "population": 128,
    "generations": 30,
    "patience": 6,
    "elite": 32,
    "islands": 2,
    "island_generations": 4,
    "island_population": 64,
}
QUICK = EvolutionSettings(**SMALL)


def estimates_of(space):
    def accuracy(genes):
        return true_accuracy(space, genes), np.zeros(len(genes))

    return Estimates(space, accuracy, lambda genes: true_latency_ms(space, genes))


def run(space, budgets, **settings):
    return search_front(
        estimates_of(space),
        budgets_ms=budgets,
        settings=EvolutionSettings(**SMALL, **settings),
    )


@pytest.fixture(scope="module")
def tiny_result():
    return run(tiny_space(), [0.5, 0.6, 0.8])


def test_the_best_of_every_budget_is_the_best_of_all_architectures(tiny_result):
    space = tiny_space()
    genes = every_architecture(space)
    assert len(genes) == space.num_archs
    accuracy, latency = true_accuracy(space, genes), true_latency_ms(space, genes)
    for finding in tiny_result.findings:
        best = accuracy[latency <= finding.budget].max()
        assert finding.best.gain[0] == pytest.approx(best)
        assert finding.best.costs[0, 0] <= finding.budget


def test_runner_up_and_candidates_are_different_and_ordered(tiny_result):
    for finding in tiny_result.findings:
        assert finding.runner_up is not None
        assert finding.runner_up.gain[0] <= finding.best.gain[0]
        assert len(np.unique(finding.candidates.genes, axis=0)) == len(finding.candidates)
        assert (np.diff(finding.candidates.gain) <= 0).all()


def test_the_front_rises_and_ends_at_the_largest_budget(tiny_result):
    front = tiny_result.front
    assert (np.diff(front.costs[:, 0]) > 0).all()
    assert (np.diff(front.gain) > 0).all()
    assert front.costs[-1, 0] <= 0.8
    assert tiny_result.hypervolume > 0


def test_a_larger_budget_is_never_worse_and_costs_less_a_point(tiny_result):
    gains = [finding.best.gain[0] for finding in tiny_result.findings]
    prices = [finding.price for finding in tiny_result.findings]
    assert gains == sorted(gains)
    assert all(price > 0 for price in prices)
    assert prices[0] > prices[-1]


def test_equal_seeds_find_equal_fronts():
    space = small_space()
    first, second = (run(space, [0.8, 1.2], seed=4).front for _ in range(2))
    np.testing.assert_array_equal(first.genes, second.genes)


def test_it_stops_early_when_nothing_improves(tiny_result):
    assert tiny_result.num_generations < 30


def test_an_impossible_budget_names_the_fastest_subnet_before_any_accuracy_is_asked():
    space = small_space()

    def never(genes):
        raise AssertionError("the accuracy must not be asked for")

    estimates = Estimates(space, never, lambda genes: true_latency_ms(space, genes))
    fastest = space.smallest
    latency = true_latency_ms(space, space.genes([fastest]))[0]
    with pytest.raises(InfeasibleConstraintError, match=f"{latency:.4g} .arch {fastest.arch_id}"):
        search_front(estimates, budgets_ms=[0.01, 2.0], settings=QUICK)


def test_a_budget_above_everything_gives_the_best_of_all():
    space = tiny_space()
    result = run(space, [1000.0])
    assert space.archs(result.findings[0].best.genes) == [space.largest]


def test_a_budget_that_only_the_fastest_meets_gives_it_without_a_runner_up():
    space = tiny_space()
    latency = float(true_latency_ms(space, space.genes([space.smallest]))[0])
    result = run(space, [latency])
    assert space.archs(result.findings[0].best.genes) == [space.smallest]
    assert result.findings[0].runner_up is None


def test_budgets_are_sorted_and_repeats_dropped():
    assert check_budgets([3, 1, 3.0], name="latency_ms") == (1.0, 3.0)


@pytest.mark.parametrize("budgets", [[], [0.0], [-1.0, 2.0], [float("nan")]])
def test_budgets_that_are_not_positive_are_refused(budgets):
    with pytest.raises(ParamsError, match="budgets of latency_ms must be positive"):
        check_budgets(budgets, name="latency_ms")


def test_an_estimate_that_is_not_finite_is_refused():
    space = tiny_space()
    estimates = Estimates(
        space, lambda genes: (np.full(len(genes), np.nan),) * 2, estimates_of(space).latency
    )
    with pytest.raises(ParamsError, match="accuracy_top1 must give one finite number"):
        search_front(estimates, budgets_ms=[1.0], settings=QUICK)


def test_the_cheapest_is_found_where_it_is_not_the_smallest():
    space = tiny_space()
    target = space.sample(np.random.default_rng(5), 1)

    def distance(genes):
        return 1.0 + (genes != target).sum(axis=1)

    found = find_cheapest(space, Objective("latency_ms", distance), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(found.genes, target)
    assert found.cost == 1.0


def test_several_costs_are_limited_at_once():
    space = small_space()

    def size(genes):
        return space.values(genes)["expand_ratio"].sum(axis=1)

    problem = SearchProblem(
        space=space,
        gain=Objective("accuracy_top1", lambda genes: true_accuracy(space, genes)),
        costs=(
            Objective("latency_ms", lambda genes: true_latency_ms(space, genes)),
            Objective("size", size),
        ),
        budgets=np.array([[1.0, np.inf], [1.5, 14.0], [np.inf, 10.0]]),
    )
    evolved = evolve(problem, settings=QUICK)
    for niche, limits in zip(evolved.niches, problem.budgets, strict=True):
        assert len(niche) > 1
        assert (niche.costs <= limits).all()
    assert evolved.front.costs[:, 1].min() < 10
    assert len(evolved.front) > 20
