"""Accuracy against latency: the whole front and the best subnets of every budget in one run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.search.evolution import EvolutionSettings, Evolved, evolve
from ofa_pipeline.search.objectives import (
    Cheapest,
    Objective,
    Score,
    SearchProblem,
    TraceGain,
    check_budgets,
)
from ofa_pipeline.search.pareto import hypervolume
from ofa_pipeline.search.population import Scored

PredictAccuracy = Callable[[Genes], tuple[FloatArray, FloatArray]]
"""Genes to mean and standard deviation of the accuracy, fractions."""


@dataclass(frozen=True, slots=True)
class Estimates:
    """What a search believes of the architectures of a space."""

    space: SearchSpace
    accuracy: PredictAccuracy
    """Mean and standard deviation of many architectures at once."""
    latency: Score
    """Milliseconds of many architectures at once."""
    trace: TraceGain | None = None
    """The accuracy with its slopes, where the predictor has them."""
    is_costly: bool = False
    """Whether the accuracy takes long to estimate, so that a search should ask for less."""


_BEYOND = 1.1  # the front is searched a little beyond the largest budget, to know its price


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetFinding:
    """What a search found for one budget."""

    budget: float
    candidates: Scored
    """The best architectures within the budget, best first; at least one."""
    price: float
    """Accuracy (fraction) that one more unit of the budget would buy around here."""

    @property
    def best(self) -> Scored:
        """The best architecture."""
        return self.candidates.take(np.array([0]))

    @property
    def runner_up(self) -> Scored | None:
        """The second best, None where the budget admits only one."""
        return self.candidates.take(np.array([1])) if len(self.candidates) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What one search found for all budgets."""

    findings: tuple[BudgetFinding, ...]
    """By ascending budget."""
    front: Scored
    """All efficient architectures up to the largest budget, by ascending cost."""
    hypervolume: float
    """Between the front and (lowest accuracy of the front, largest budget): fraction times cost."""
    cheapest: Cheapest
    num_generations: int
    num_considered: int
    num_evaluated: int


def search_front(
    estimates: Estimates,
    *,
    budgets_ms: Sequence[float],
    settings: EvolutionSettings,
    reporter: Reporter = SILENT,
    seeds: Genes | None = None,
) -> SearchResult:
    """Search the Pareto front of estimated accuracy against estimated latency.

    Args:
        estimates: The space, and accuracy and latency of its architectures.
        budgets_ms: Upper limits, in any order, repeats allowed.
        settings: How long and how broadly to search.
        reporter: Told the best accuracy of each generation.
        seeds: Architectures to start from besides random ones.

    Raises:
        InfeasibleConstraintError: If a budget is below the fastest subnet, before any search.
        ParamsError: If a budget is not positive, or an estimate is not finite.
    """
    budgets = check_budgets(budgets_ms, name="latency_ms")
    problem = as_problem(estimates, [*budgets, _BEYOND * budgets[-1]])
    evolved = evolve(problem, settings=settings, seeds=seeds, reporter=reporter)
    return summarize(evolved, budgets)


def as_problem(estimates: Estimates, budgets_ms: Sequence[float]) -> SearchProblem:
    """Return the search for high accuracy at low latency, within each of some budgets."""
    return SearchProblem(
        space=estimates.space,
        gain=Objective("accuracy_top1", lambda genes: estimates.accuracy(genes)[0]),
        costs=(Objective("latency_ms", estimates.latency),),
        budgets=np.array(budgets_ms)[:, None],
    )


def summarize(evolved: Evolved, budgets: Sequence[float]) -> SearchResult:
    """Turn the elites of an evolution with one cost into findings by budget.

    Args:
        evolved: Its first niches are those of the budgets.
        budgets: Ascending.
    """
    front = evolved.front
    within = front.take(front.costs[:, 0] <= budgets[-1])
    lowest = float(within.gain.min())
    reference = np.array([-lowest, budgets[-1]]) + 1e-12
    return SearchResult(
        findings=tuple(
            BudgetFinding(budget=budget, candidates=niche, price=price_at(front, budget))
            for budget, niche in zip(budgets, evolved.niches, strict=False)
        ),
        front=within,
        hypervolume=hypervolume(within.losses(), reference),
        cheapest=evolved.cheapest[0],
        num_generations=evolved.num_generations,
        num_considered=evolved.num_considered,
        num_evaluated=evolved.num_evaluated,
    )


def price_at(front: Scored, budget: float) -> float:
    """Return what one more unit of budget buys: the slope of the front a tenth around it.

    Args:
        front: By ascending first cost.
        budget: Where to look.
    """
    low, high = budget / _BEYOND, budget * _BEYOND
    costs, best = front.costs[:, 0], np.maximum.accumulate(front.gain)
    first = int(np.searchsorted(costs, low, side="right")) - 1
    last = int(np.searchsorted(costs, high, side="right")) - 1
    first = max(first, 0)
    if last <= first:
        return 0.0
    return float((best[last] - best[first]) / (high - max(low, float(costs[first]))))
