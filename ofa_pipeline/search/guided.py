"""Search that uses sums: exact where accuracy and latency are sums, elsewhere good seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.search.additive import Additive, additive_part, fit_additive
from ofa_pipeline.search.evolution import EvolutionSettings
from ofa_pipeline.search.exact import ExactFront, exact_front, optimality_gaps
from ofa_pipeline.search.front import Estimates, SearchResult, search_front
from ofa_pipeline.search.objectives import Score, check_budgets

_SAMPLED = 3000  # architectures that sums are fitted to where a quantity is none
_TOLERANCE = 1e-6  # fraction of top-1: a thousandth of what a label is known to
_BEYOND = 1.1


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
    """Search with the exact front of the closest sums as seeds; exact where these are exact.

    Args:
        estimates: The space, and accuracy and latency of its architectures.
        budgets_ms: Upper limits, in any order, repeats allowed.
        settings: Of the evolution.
        reporter: Told the best accuracy of each generation.
        seeds: Further architectures to start from.

    Raises:
        InfeasibleConstraintError: If a budget is below the fastest subnet.
        ParamsError: If a budget is not positive, or an estimate is not finite.
    """
    budgets = check_budgets(budgets_ms, name="latency_ms")
    exact, is_proof = _exact(estimates, budgets, settings.seed)
    given = [genes for genes in (seeds, exact.front.genes if exact else None) if genes is not None]
    result = search_front(
        estimates,
        budgets_ms=budgets,
        settings=settings,
        reporter=reporter,
        seeds=np.concatenate(given) if given else None,
    )
    if exact is None or not is_proof:
        return GuidedResult(result=result, gaps=None)
    gains = [float(finding.best.gain[0]) for finding in result.findings]
    return GuidedResult(result=result, gaps=tuple(optimality_gaps(exact, budgets, gains)))


def _exact(
    estimates: Estimates, budgets: Sequence[float], seed: int
) -> tuple[ExactFront | None, bool]:
    """Return the exact front of sums, and whether these are the estimates themselves."""
    space = estimates.space
    if space.num_width_sites:
        return None, False

    def accuracy(genes: Genes) -> FloatArray:
        return estimates.accuracy(genes)[0]

    sums = [_closest_sum(estimates, score, seed) for score in (accuracy, estimates.latency)]
    is_proof = all(one.is_exact for one in sums)
    front = exact_front(
        sums[0].score,
        sums[1].score,
        max_cost=_BEYOND * budgets[-1],
        tolerance=_TOLERANCE if is_proof else 100 * _TOLERANCE,
    )
    return front, is_proof


def _closest_sum(estimates: Estimates, score: Score, seed: int) -> Additive:
    own = additive_part(estimates.space, score, seed=seed)
    if own.is_exact:
        return own
    sample = estimates.space.sample(np.random.default_rng(seed), _SAMPLED)
    return fit_additive(estimates.space, sample, score(sample), score=score, seed=seed)
