"""Search that uses what it knows of the estimates: sums are searched exactly, slopes followed.

Where accuracy or latency is no sum, the exact front of the closest sums and what walks along the
slopes met are the seeds of the evolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.search.additive import Additive, AdditiveScore, additive_part, fit_additive
from ofa_pipeline.search.annealing import AnnealingProblem, AnnealingSettings, anneal
from ofa_pipeline.search.block_moves import BlockMoves
from ofa_pipeline.search.evolution import EvolutionSettings
from ofa_pipeline.search.exact import ExactFront, exact_front, optimality_gaps
from ofa_pipeline.search.front import (
    Estimates,
    SearchResult,
    as_problem,
    price_at,
    search_front,
)
from ofa_pipeline.search.objectives import Score, SearchProblem, check_budgets, require_feasible

_SAMPLED = 3000  # architectures that sums are fitted to where a quantity is none
_TOLERANCE = 1e-6  # fraction of top-1: a thousandth of what a label is known to
_BEYOND = 1.1
_LEAST_PRICE = 0.1  # of the mean price over the front, where more budget buys nothing any more


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidedResult:
    """A search, and how far it may be from the best."""

    result: SearchResult
    gaps: tuple[float, ...] | None
    """By ascending budget, fractions: the best possible accuracy minus the found one, at most;
    None where accuracy or latency is no sum, so that nothing can be proved."""


def search_guided(
    estimates: Estimates,
    *,
    budgets_ms: Sequence[float],
    settings: EvolutionSettings,
    reporter: Reporter = SILENT,
    seeds: Genes | None = None,
) -> GuidedResult:
    """Search with sums and slopes as far as there are any; exact where sums are exact.

    Args:
        estimates: The space, and accuracy and latency of its architectures.
        budgets_ms: Upper limits, in any order, repeats allowed.
        settings: Settings of the evolution.
        reporter: Told the best accuracy of each generation.
        seeds: Further architectures to start from.

    Raises:
        InfeasibleConstraintError: If a budget is below the fastest subnet.
        ParamsError: If a budget is not positive, or an estimate is not finite.
    """
    budgets = check_budgets(budgets_ms, name="latency_ms")
    problem = as_problem(estimates, budgets)
    require_feasible(problem, rng=np.random.default_rng(settings.seed))
    sums = _sums(problem, settings.seed)
    given = [] if seeds is None else [seeds]
    if sums:
        given.append(sums.front.front.genes)
    # A sum that is too high by a little may put everything above the budgets. In a coupled space
    # walks gain nothing: no block changes by itself, and few architectures are left.
    is_walk_useful = not (sums and sums.is_proof) and not estimates.space.is_coupled
    if sums and len(sums.front.front) and estimates.trace and is_walk_useful:
        given.append(_annealed(estimates, sums, budgets, settings.seed, reporter))
        settings = replace(settings, islands=0)
    result = search_front(
        estimates,
        budgets_ms=budgets,
        settings=settings,
        reporter=reporter,
        seeds=np.concatenate(given) if given else None,
    )
    if sums is None or not sums.is_proof:
        return GuidedResult(result=result, gaps=None)
    gains = [float(finding.best.gain[0]) for finding in result.findings]
    return GuidedResult(result=result, gaps=tuple(optimality_gaps(sums.front, budgets, gains)))


@dataclass(frozen=True, slots=True)
class _Sums:
    """The sums that are closest to accuracy and latency, and their exact front."""

    latency: AdditiveScore
    front: ExactFront
    is_proof: bool
    """Whether they are accuracy and latency themselves."""


def _annealed(
    estimates: Estimates,
    sums: _Sums,
    budgets: Sequence[float],
    seed: int,
    reporter: Reporter,
) -> Genes:
    assert estimates.trace
    front = sums.front.front
    whole = (front.gain.max() - front.gain.min()) / max(np.ptp(front.costs), 1e-12)
    prices = [max(price_at(front, budget), _LEAST_PRICE * whole) for budget in budgets]
    problem = AnnealingProblem(
        space=estimates.space,
        gain=estimates.trace,
        cost=estimates.latency,
        moves=BlockMoves(estimates.space, sums.latency),
        budgets=np.array(budgets),
        prices=np.array(prices),
    )
    return anneal(problem, settings=AnnealingSettings(seed=seed), reporter=reporter).genes


def _sums(problem: SearchProblem, seed: int) -> _Sums | None:
    """Return the sums; None where widths make them impossible."""
    if problem.space.num_width_sites:
        return None

    def latency(genes: Genes) -> FloatArray:
        return problem.evaluate_costs(genes)[:, 0]

    sums = [_closest_sum(problem.space, one, seed) for one in (problem.evaluate_gain, latency)]
    is_proof = all(one.is_exact for one in sums)
    front = exact_front(
        sums[0].score,
        sums[1].score,
        max_cost=_BEYOND * float(problem.budgets.max()),
        tolerance=_TOLERANCE if is_proof else 100 * _TOLERANCE,
    )
    return _Sums(sums[1].score, front, is_proof)


def _closest_sum(space: SearchSpace, score: Score, seed: int) -> Additive:
    own = additive_part(space, score, seed=seed)
    if own.is_exact:
        return own
    sample = space.sample(np.random.default_rng(seed), _SAMPLED)
    return fit_additive(space, sample, score(sample), score=score, seed=seed)
