"""Population annealing: many random walks by slopes, for gains that have slopes.

A predictor with slopes says of every small change at once what it would do, for the price of two
evaluations. A walk draws its next change by these slopes, evaluates it, and accepts or refuses it
by the Metropolis rule; the walks of all budgets cool down together. From time to time the walks
that got stuck are replaced by copies of better ones, of the same budget or a neighbouring one.

Source:
    Machta 2010 (arXiv:1006.0252) for population annealing, which is Hukushima and Iba's: replicas
    are copied by the change of their Boltzmann weights. Grathwohl et al. 2021 (arXiv:2102.04509)
    for Metropolis proposals by gradients of discrete inputs. The proposal's own probability is
    left out of the acceptance: we want the best architecture, not samples of a distribution.
"""

from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.search.block_moves import BlockMoves
from ofa_pipeline.search.moves import crossed_over
from ofa_pipeline.search.objectives import Score, TraceGain
from ofa_pipeline.search.population import Fingerprints, Scored

_RESAMPLE_EVERY = 10  # steps
_CROSS_EVERY = 12
_FOREIGN_WEIGHT = 0.3  # of a walk of a neighbouring budget, where it beats the own median
_PENALTY = 1.5  # times the price of the budget, for what is above it
_KEPT = 200  # architectures a budget that are returned


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnealingSettings:
    """How many walks, how long."""

    walks: int = 1700
    """Walks of all budgets together."""
    walks_per_budget: tuple[int, int] = (40, 300)
    """At least and at most, however many budgets there are."""
    steps: int = 330
    """Evaluations of each walk."""
    hottest: float = 0.2
    """First temperature, as a fraction of what a random change does to the gain."""
    coldest: float = 0.09
    """Last temperature."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnealingProblem:
    """One gain with slopes, one cost that is close to a sum, and budgets."""

    space: SearchSpace
    gain: TraceGain
    cost: Score
    moves: BlockMoves
    budgets: FloatArray
    """Ascending, shape (budgets,)."""
    prices: FloatArray
    """Gain that a unit of cost is worth at each budget, about; positive."""


def anneal(
    problem: AnnealingProblem, *, settings: AnnealingSettings, reporter: Reporter = SILENT
) -> Scored:
    """Return the best architectures that walks met within each budget, without repeats."""
    walks = _Walks(problem, settings)
    tracker = reporter.track("anneal", total=settings.steps, unit="steps")
    cooling = (settings.coldest / settings.hottest) ** (1 / max(settings.steps - 1, 1))
    temperature = last = settings.hottest * walks.scale
    for step in range(1, settings.steps + 1):
        if step % _CROSS_EVERY == 0:
            walks.decide(walks.crossings(), temperature)
        else:
            walks.decide(walks.moves(temperature), temperature)
        temperature *= cooling
        if step % _RESAMPLE_EVERY == 0:
            walks.resample(1 / temperature - 1 / last)
            last = temperature
        tracker.advance(best=walks.best)
    return walks.met()


class _Walks:
    """The current architecture of every walk, budget after budget."""

    def __init__(self, problem: AnnealingProblem, settings: AnnealingSettings) -> None:
        self.problem = problem
        self.rng = np.random.default_rng(settings.seed)
        num_budgets = len(problem.budgets)
        least, most = settings.walks_per_budget
        self.per_budget = min(max(settings.walks // num_budgets, least), most)
        self.owner = np.repeat(np.arange(num_budgets), self.per_budget)
        self.limits = problem.budgets[self.owner]
        self.prices = problem.prices[self.owner]
        self.genes = problem.space.sample(self.rng, len(self.owner))
        self.cost = problem.cost(self.genes)
        trace = problem.gain(self.genes)
        self.gain = trace.mean
        everything = np.arange(len(self.owner))
        effects = problem.moves.effects(self.genes, trace.slopes(everything), self.prices)
        self.effect_gain, self.effect_cost = effects.gain, effects.cost
        self.filled = effects.filled
        changes = effects.gain[np.isfinite(effects.gain)]
        self.scale = max(float(np.sqrt((changes**2).sum() / max(changes.size, 1))), 1e-12)
        self._met = [Scored(self.genes, self.gain, self.cost[:, None])]

    @property
    def best(self) -> float:
        """The best gain of a walk that is within its budget."""
        return float(self.gain[self.cost <= self.limits].max(initial=0.0))

    def moves(self, temperature: float) -> Genes:
        """Draw one move of every walk, by what it would do to the penalized gain."""
        slack = (self.limits - self.cost).astype(np.float32)[:, None]
        score = self.effect_cost - slack
        np.maximum(score, 0, out=score)
        score -= np.maximum(-slack, 0)
        score *= (-_PENALTY * self.prices).astype(np.float32)[:, None]
        score += self.effect_gain
        score *= 1 / (2 * temperature)
        # The largest sum with Gumbel noise is a draw with the softmax of the scores.
        noise = self.rng.standard_exponential(score.shape, dtype=np.float32)
        score -= np.log(np.maximum(noise, np.finfo(np.float32).tiny, out=noise), out=noise)
        return self.problem.moves.apply(self.filled, score.argmax(axis=1))

    def crossings(self) -> Genes:
        """Cross every walk with one of its budget or a neighbouring one."""
        budgets = self.owner + self.rng.integers(-1, 2, len(self.owner))
        budgets = np.clip(budgets, 0, len(self.problem.budgets) - 1)
        partners = budgets * self.per_budget + self.rng.integers(0, self.per_budget, len(budgets))
        return crossed_over(self.problem.space, self.genes, self.genes[partners], self.rng)

    def decide(self, proposed: Genes, temperature: float) -> None:
        """Evaluate the proposals and go on with those that are good enough."""
        trace, cost = self.problem.gain(proposed), self.problem.cost(proposed)
        gain = trace.mean
        difference = self._penalized(gain, cost) - self._penalized(self.gain, self.cost)
        noise = self.rng.standard_exponential(len(gain))
        rows = np.flatnonzero(difference >= -temperature * noise)
        if not len(rows):
            return
        genes = proposed[rows]
        self.genes[rows], self.gain[rows], self.cost[rows] = genes, gain[rows], cost[rows]
        effects = self.problem.moves.effects(genes, trace.slopes(rows), self.prices[rows])
        self.effect_gain[rows], self.effect_cost[rows] = effects.gain, effects.cost
        self.filled[rows] = effects.filled
        self._met.append(Scored(genes, gain[rows], cost[rows, None]))

    def _penalized(self, gain: FloatArray, cost: FloatArray) -> FloatArray:
        above: FloatArray = np.maximum(cost - self.limits, 0)
        return gain - _PENALTY * self.prices * above

    def resample(self, colder: float) -> None:
        """Replace walks by copies of others, with the weights of a lower temperature.

        Args:
            colder: By how much the inverse temperature grew since the last time.
        """
        chosen = np.concatenate(
            [self._heirs(budget, colder) for budget in range(len(self.problem.budgets))]
        )
        self.genes, self.filled = self.genes[chosen], self.filled[chosen]
        self.gain, self.cost = self.gain[chosen], self.cost[chosen]
        self.effect_gain, self.effect_cost = self.effect_gain[chosen], self.effect_cost[chosen]

    def _heirs(self, budget: int, colder: float) -> IntArray:
        """Return the walks that those of a budget go on from."""
        near = np.flatnonzero(np.abs(self.owner - budget) <= 1)
        is_own = self.owner[near] == budget
        price = _PENALTY * self.problem.prices[budget]
        above = np.maximum(self.cost[near] - self.problem.budgets[budget], 0)
        value = self.gain[near] - price * above
        weights = np.exp((value - value.max()) * colder)
        is_better = value > np.median(value[is_own])
        weights *= np.where(is_own, 1.0, _FOREIGN_WEIGHT * is_better)
        # Systematic resampling: as little chance as can be.
        places = (self.rng.random() + np.arange(self.per_budget)) / self.per_budget
        found = np.searchsorted(np.cumsum(weights), places * weights.sum())
        heirs: IntArray = near[np.minimum(found, len(near) - 1)]
        return heirs

    def met(self) -> Scored:
        """Return the best that was met within each budget, without repeats."""
        met = Scored(
            np.concatenate([one.genes for one in self._met]),
            np.concatenate([one.gain for one in self._met]),
            np.concatenate([one.costs for one in self._met]),
        )
        met = met.take(Fingerprints(self.problem.space).unseen_rows(met.genes))
        met = met.take(np.argsort(-met.gain, kind="stable"))
        kept = [
            np.flatnonzero(met.costs[:, 0] <= budget)[:_KEPT] for budget in self.problem.budgets
        ]
        return met.take(np.unique(np.concatenate(kept)))
