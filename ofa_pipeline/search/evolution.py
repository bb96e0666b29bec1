"""Evolutionary search for the whole Pareto front, all budgets in one run.

Every budget is a niche that keeps its own elite; further niches between the budgets cover the
rest of the front. Children of neighbouring niches compete in all of them, so what is found for
one budget serves the others. Costs are evaluated first and the gain only of what some niche
admits; nothing is evaluated twice, and what a learned sum finds hopeless not at all.

Source:
    Differs from the reference's evolution (``ofa/nas/search_algorithm/evolution.py``): many
    budgets at once, de-duplication, no rejection loops that never end, local search, early stop.
"""

from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes
from ofa_pipeline.progress import SILENT, Reporter, Tracker
from ofa_pipeline.search.island import Island
from ofa_pipeline.search.objectives import Cheapest, SearchProblem, require_feasible
from ofa_pipeline.search.population import Scored

_POLISH_EVERY = 10  # generations
_LAST_POLISHES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionSettings:
    """How long and how broadly to search."""

    population: int = 2000
    """Children a generation."""
    generations: int = 80
    """At most, after the islands."""
    patience: int = 30
    """Generations without a better architecture within any budget before it stops."""
    elite: int = 150
    """Architectures that each niche keeps."""
    islands: int = 10
    """Populations that evolve by themselves first, so that not all end in the same corner."""
    island_generations: int = 30
    island_population: int = 800
    """Children a generation of each island."""
    island_elite: int = 48
    filler_niches: int = 12
    """Niches between the smallest cost and the largest budget, besides the budgets."""
    seed: int = 0

    @property
    def total_generations(self) -> int:
        """Generations of the islands and after them."""
        return self.islands * self.island_generations + self.generations


BRIEF = EvolutionSettings(
    population=512,
    generations=60,
    patience=20,
    elite=64,
    islands=4,
    island_generations=15,
    island_population=256,
)
"""A tenth of the candidates, for smooth estimates that take longer, as of Gaussian processes."""


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
    num_considered: int
    """Different architectures within the budgets; the gain of most was only guessed."""
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
    limits = _niche_limits(problem, cheapest, settings.filler_niches)
    given = problem.space.sample(rng, 0) if seeds is None else problem.space.canonicalize(seeds)
    tracker = reporter.track("search", total=settings.total_generations, unit="generations")
    main = Island(problem, limits, rng, population=settings.population, elite=settings.elite)
    main.begin(cheapest, given)
    for stream in rng.spawn(settings.islands):
        main.absorb(_evolved_island(problem, limits, stream, cheapest, settings, tracker))
    generation = 0
    for generation in range(1, settings.generations + 1):
        main.step(generation)
        tracker.advance(best=float(main.best_gains().max()), evaluated=float(main.num_evaluated))
        is_better = generation % _POLISH_EVERY == 0 and main.polish()
        if main.stagnation >= settings.patience and not is_better:
            break
    for _ in range(_LAST_POLISHES):
        if not main.polish():
            break
    tracker.advance(settings.generations - generation)
    return _result(main, cheapest, generation)


def _evolved_island(
    problem: SearchProblem,
    limits: FloatArray,
    rng: np.random.Generator,
    cheapest: list[Cheapest],
    settings: EvolutionSettings,
    tracker: Tracker,
) -> Island:
    island = Island(
        problem,
        limits,
        rng,
        population=settings.island_population,
        elite=settings.island_elite,
    )
    island.begin(cheapest, problem.space.sample(rng, 0))
    for generation in range(1, settings.island_generations + 1):
        island.step(generation)
        tracker.advance(best=float(island.best_gains().max()))
    return island


def _result(main: Island, cheapest: list[Cheapest], num_generations: int) -> Evolved:
    front = main.niches.front
    return Evolved(
        niches=tuple(main.niches.members[: len(main.problem.budgets)]),
        front=front.take(np.argsort(front.costs[:, 0], kind="stable")),
        cheapest=tuple(cheapest),
        num_generations=num_generations,
        num_considered=main.num_considered,
        num_evaluated=main.num_evaluated,
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
