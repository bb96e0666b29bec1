"""One population of an evolution: niches for budgets, children, local search."""

import numpy as np

from ofa_pipeline.arch import BoolArray, FloatArray, Genes
from ofa_pipeline.search.moves import crossed_over, promising_pairs
from ofa_pipeline.search.neighborhood import one_gene_changes
from ofa_pipeline.search.objectives import Cheapest, SearchProblem
from ofa_pipeline.search.population import Fingerprints, Niches, Scored, no_scored
from ofa_pipeline.search.screen import Screen

_MUTATION_RATES = (0.02, 0.04, 0.08)  # probability that a gene is redrawn, by turns
_CROSSOVER_SHARE = 0.6
_RANK_BIAS = 1.5  # above 1 prefers the better members of a niche as parents
_FRONT_SIZE = 2000
_FIRST_FACTOR = 4  # the first generation is this many times larger
_EXPANDED = 4  # members of a niche whose surroundings are looked at, best first
_DOUBT = 1.5  # root mean square errors by which the screen may be too low
_PAIRS = 100  # of one-gene changes tried around a best architecture


class Island:
    """A population that evolves by itself."""

    def __init__(
        self,
        problem: SearchProblem,
        limits: FloatArray,
        rng: np.random.Generator,
        *,
        population: int,
        elite: int,
    ) -> None:
        """Begin with empty niches.

        Args:
            problem: Gain, costs and budgets.
            limits: Limits of each niche, the budgets first, shape (niches, costs).
            rng: Source of everything that is drawn.
            population: Children a generation.
            elite: Architectures that each niche keeps.
        """
        self.problem = problem
        self.rng = rng
        self.population = population
        self.seen = Fingerprints(problem.space)
        self.expanded = Fingerprints(problem.space)
        self.paired = Fingerprints(problem.space)
        # A parent's partners come from neighbouring niches, so these are ordered by cost.
        self.ladder = np.lexsort(limits.T[::-1])
        self.niches = Niches(
            limits,
            no_scored(problem.space, len(problem.costs)),
            size=elite,
            front_size=_FRONT_SIZE,
        )
        self.screen = Screen(problem.space)
        self.num_considered = 0
        self.num_evaluated = 0
        self.stagnation = 0

    def begin(self, cheapest: list[Cheapest], seeds: Genes) -> None:
        """Evaluate the cheapest and the given architectures, and random ones."""
        space, rng = self.problem.space, self.rng
        count = _FIRST_FACTOR * self.population // 2
        cheap = np.concatenate([found.genes for found in cheapest])
        near_cheap = space.mutate(
            np.repeat(cheap, count // len(cheap), axis=0), rng, probability=0.2
        )
        self.evaluate(np.concatenate([cheap, seeds, near_cheap, space.sample(rng, count)]))

    def absorb(self, other: "Island") -> None:
        """Take over the elite and the front of another population, as it was evaluated."""
        for found in (*other.niches.members, other.niches.front):
            self.niches.add(found.take(self.seen.new_rows(found.genes)))
        self.num_considered += other.num_considered
        self.num_evaluated += other.num_evaluated

    def step(self, generation: int) -> None:
        """Let children and the neighbours of the best compete; then count the stagnation."""
        before = self.best_gains()
        rate = _MUTATION_RATES[generation % len(_MUTATION_RATES)]
        self.evaluate(self.children(rate))
        self.evaluate(self.neighbors_of_best())
        is_better = (self.best_gains() > before).any()
        self.stagnation = 0 if is_better else self.stagnation + 1

    def best_gains(self) -> FloatArray:
        """Return the best gain within each budget."""
        return self.niches.best_gains()[: len(self.problem.budgets)]

    def children(self, rate: float) -> Genes:
        """Return mutants and crossings of the elite of every niche."""
        space, rng = self.problem.space, self.rng
        filled = [index for index in self.ladder if len(self.niches.members[index])]
        share = -(-self.population // len(filled))
        first, second = [], []
        for place, index in enumerate(filled):
            first.append(self._parents(index, share))
            step = int(rng.integers(-1, 2))
            partner = filled[min(max(place + step, 0), len(filled) - 1)]
            second.append(self._parents(partner, share))
        parents = np.concatenate(first)
        crossed = crossed_over(space, parents, np.concatenate(second), rng)
        is_crossed = rng.random(len(parents)) < _CROSSOVER_SHARE
        return space.mutate(np.where(is_crossed[:, None], crossed, parents), rng, probability=rate)

    def _parents(self, niche: int, count: int) -> Genes:
        members = self.niches.members[niche].genes
        ranks = len(members) * self.rng.random(count) ** _RANK_BIAS
        return members[ranks.astype(np.int64)]

    def neighbors_of_best(self) -> Genes:
        """Return all one-gene neighbours of the best of each niche not yet expanded."""
        best = [_first_new(self.expanded, members) for members in self.niches.members]
        return one_gene_changes(self.problem.space, np.concatenate(best))

    def polish(self) -> bool:
        """Try pairs of changes of the best of each budget; tell whether it helped."""
        before = self.best_gains()
        for index in range(len(self.problem.budgets)):
            best = _first_new(self.paired, self.niches.members[index])
            if len(best):
                limits = self.niches.limits[index]
                count = 1 + int(self.problem.space.num_choices.sum())
                self.num_considered += count
                self.num_evaluated += count
                self.evaluate(promising_pairs(self.problem, best, limits=limits, count=_PAIRS))
        return bool((self.best_gains() > before).any())

    def evaluate(self, genes: Genes) -> None:
        """Score what is new and may enter a niche, and let it compete."""
        new = genes[self.seen.unseen_rows(genes)]
        if not len(new):
            return
        costs = self.problem.evaluate_costs(new)
        bars = self.niches.bars(costs)
        self.num_considered += int((bars < np.inf).sum())
        kept = self._is_promising(new, bars)
        new, costs = new[kept], costs[kept]
        if len(new):
            self.num_evaluated += len(new)
            self.seen.new_rows(new)
            gain = self.problem.evaluate_gain(new)
            self.screen.learn(new, gain)
            self.niches.add(Scored(new, gain, costs))

    def _is_promising(self, genes: Genes, bars: FloatArray) -> BoolArray:
        """Tell which architectures may exceed their bar, by all that was learned of the gain."""
        if not self.screen.is_ready:
            return bars < np.inf
        reach = self.screen.predict(genes) + _DOUBT * self.screen.error
        return np.asarray(reach > bars)


def _first_new(seen: Fingerprints, members: Scored) -> Genes:
    """Return the best of the first few members that was not seen before, and remember it."""
    for row in range(min(_EXPANDED, len(members))):
        new = seen.take_new(members.genes[row : row + 1])
        if len(new):
            return new
    return members.genes[:0]
