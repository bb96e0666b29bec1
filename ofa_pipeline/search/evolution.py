"""Evolutionary search for the whole Pareto front, all budgets in one run.

Every budget is a niche that keeps its own elite; further niches between the budgets cover the
rest of the front. Children of neighbouring niches compete in all of them, so what is found for
one budget serves the others. Costs are evaluated first and the gain only of what some niche
admits; nothing is evaluated twice.

Source:
    Differs from the reference's evolution (``ofa/nas/search_algorithm/evolution.py``): many
    budgets at once, de-duplication, no rejection loops that never end, local search, early stop.
"""

from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.search.objectives import Cheapest, SearchProblem, require_feasible
from ofa_pipeline.search.population import Fingerprints, Niches, Scored, no_scored

_MUTATION_RATES = (0.02, 0.04, 0.08)  # probability that a gene is redrawn, by turns
_CROSSOVER_SHARE = 0.6
_RANK_BIAS = 1.5  # above 1 prefers the better members of a niche as parents
_FRONT_SIZE = 2000
_FIRST_FACTOR = 8  # the first generation is this many times larger


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionSettings:
    """How long and how broadly to search."""

    population: int = 1024
    """Children a generation."""
    generations: int = 200
    """At most."""
    patience: int = 25
    """Generations without a better architecture in any niche of a budget before it stops."""
    elite: int = 64
    """Architectures that each niche keeps."""
    filler_niches: int = 12
    """Niches between the smallest cost and the largest budget, besides the budgets."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolved:
    """What an evolution found."""

    niches: tuple[Scored, ...]
    """The elite of each budget in the problem's order, best first."""
    front: Scored
    """Everything that no other architecture beats, by ascending first cost."""
    cheapest: tuple[Cheapest, ...]
    """By each cost."""
    num_generations: int
    num_evaluated: int
    """Different architectures whose gain was evaluated."""


def evolve(
    problem: SearchProblem,
    *,
    settings: EvolutionSettings,
    seeds: Genes | None = None,
    reporter: Reporter = SILENT,
) -> Evolved:
    """Search the best architectures within every budget.

    Args:
        problem: Gain, costs and budgets.
        settings: How long and how broadly.
        seeds: Architectures to start from besides random ones, shape (architectures, genes).
        reporter: Told the best gain of each generation.

    Raises:
        InfeasibleConstraintError: If a budget is below the smallest cost; before any search.
        ParamsError: If a gain or cost is not finite.
    """
    rng = np.random.default_rng(settings.seed)
    cheapest = require_feasible(problem, rng=rng)
    evolution = _Evolution(problem, settings, rng, cheapest)
    tracker = reporter.track("search", total=settings.generations, unit="generations")
    evolution.begin(seeds)
    generation = 0
    for generation in range(1, settings.generations + 1):
        evolution.step(generation)
        best = evolution.niches.best_gains()[: len(problem.budgets)]
        tracker.advance(best=float(best.max()), evaluated=float(evolution.num_evaluated))
        if evolution.stagnation >= settings.patience:
            break
    return evolution.result(generation)


class _Evolution:
    """The state of one run."""

    def __init__(
        self,
        problem: SearchProblem,
        settings: EvolutionSettings,
        rng: np.random.Generator,
        cheapest: list[Cheapest],
    ) -> None:
        self.problem = problem
        self.settings = settings
        self.rng = rng
        self.cheapest = cheapest
        self.seen = Fingerprints(problem.space, seed=settings.seed)
        self.expanded = Fingerprints(problem.space, seed=settings.seed)
        limits = _niche_limits(problem, cheapest, settings.filler_niches)
        # A parent's partners come from neighbouring niches, so these are ordered by cost.
        self.ladder = np.lexsort(limits.T[::-1])
        self.niches = Niches(
            limits,
            no_scored(problem.space, len(problem.costs)),
            size=settings.elite,
            front_size=_FRONT_SIZE,
        )
        self.num_evaluated = 0
        self.stagnation = 0

    def begin(self, seeds: Genes | None) -> None:
        space, rng = self.problem.space, self.rng
        count = _FIRST_FACTOR * self.settings.population // 2
        cheap = np.concatenate([found.genes for found in self.cheapest])
        near_cheap = space.mutate(
            np.repeat(cheap, count // len(cheap), axis=0), rng, probability=0.2
        )
        given = cheap if seeds is None else np.concatenate([cheap, space.canonicalize(seeds)])
        self.evaluate(np.concatenate([given, near_cheap, space.sample(rng, count)]))

    def step(self, generation: int) -> None:
        before = self.niches.best_gains()
        rate = _MUTATION_RATES[generation % len(_MUTATION_RATES)]
        self.evaluate(self.children(rate))
        self.evaluate(self.neighbors_of_best())
        better = (
            self.niches.best_gains()[: len(self.problem.budgets)]
            > before[: len(self.problem.budgets)]
        )
        self.stagnation = 0 if better.any() else self.stagnation + 1

    def children(self, rate: float) -> Genes:
        """Return mutants and crossings of the elite of every niche."""
        space, rng = self.problem.space, self.rng
        filled = [index for index in self.ladder if len(self.niches.members[index])]
        share = -(-self.settings.population // len(filled))
        first, second = [], []
        for place, index in enumerate(filled):
            first.append(self._parents(index, share))
            step = int(rng.integers(-1, 2))
            partner = filled[min(max(place + step, 0), len(filled) - 1)]
            second.append(self._parents(partner, share))
        parents = np.concatenate(first)
        crossed = space.crossover(parents, np.concatenate(second), rng)
        is_crossed = rng.random(len(parents)) < _CROSSOVER_SHARE
        return space.mutate(np.where(is_crossed[:, None], crossed, parents), rng, probability=rate)

    def _parents(self, niche: int, count: int) -> Genes:
        members = self.niches.members[niche].genes
        ranks = len(members) * self.rng.random(count) ** _RANK_BIAS
        return members[ranks.astype(np.int64)]

    def neighbors_of_best(self) -> Genes:
        """Return all one-gene neighbours of the best of each niche not yet expanded."""
        best = np.concatenate([members.genes[:1] for members in self.niches.members])
        return self.problem.space.neighbors(self.expanded.take_new(best))

    def evaluate(self, genes: Genes) -> None:
        """Score what is new and within the widest limits, and let it compete."""
        new = self.seen.take_new(genes)
        if not len(new):
            return
        costs = self.problem.evaluate_costs(new)
        within = np.all(costs[:, None] <= self.niches.limits[None], axis=2)
        admitted = np.any(within, axis=1)
        new, costs = new[admitted], costs[admitted]
        if len(new):
            self.num_evaluated += len(new)
            self.niches.add(Scored(new, self.problem.evaluate_gain(new), costs))

    def result(self, generation: int) -> Evolved:
        front = self.niches.front
        return Evolved(
            niches=tuple(self.niches.members[: len(self.problem.budgets)]),
            front=front.take(np.argsort(front.costs[:, 0], kind="stable")),
            cheapest=tuple(self.cheapest),
            num_generations=generation,
            num_evaluated=self.num_evaluated,
        )


def _niche_limits(problem: SearchProblem, cheapest: list[Cheapest], fillers: int) -> FloatArray:
    """Return the budgets and, for each cost, a geometric ladder below its largest budget."""
    limits = [problem.budgets]
    widest = problem.budgets.max(axis=0)
    for index, found in enumerate(cheapest):
        top = widest[index]
        if not np.isfinite(top) or top <= found.cost:
            continue
        steps = fillers // len(cheapest)
        low = max(found.cost, 1e-12)
        ladder = np.tile(widest, (steps, 1))
        ladder[:, index] = np.geomspace(low, top, steps + 1, endpoint=False)[1:]
        limits.append(ladder)
    return np.concatenate(limits)
