"""Exact search where gain and cost are sums over blocks: a multiple-choice knapsack.

At each resolution a network is a chain of block slots; each slot takes one of a few
(kernel size, expand ratio) pairs, each block group ends at one of its depths. Dynamic programming
over the chain keeps, of all partial networks, those that no other beats in both sums. What is
left at the end is the Pareto front of the whole space: the best network of every budget at once.

Source:
    Kellerer, Pferschy and Pisinger 2004, Knapsack Problems, chapter 11 (multiple-choice
    knapsack; dynamic programming over lists of undominated states).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.search.additive import AdditiveScore
from ofa_pipeline.search.pareto import is_efficient
from ofa_pipeline.search.population import Scored, no_scored

_SLACK = 1e-9  # relative, so that rounding drops nothing that is within a budget


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactFront:
    """The best networks of every budget, for sums."""

    front: Scored
    """By ascending cost, up to the largest budget; empty where nothing meets it."""
    max_loss: float
    """By how much of the gain any budget's best may be missed at most; 0 with no tolerance."""

    def best_within(self, budget: float) -> Scored:
        """Return the best network of a budget; none where nothing meets it."""
        rows = np.flatnonzero(self.front.costs[:, 0] <= budget)
        return self.front.take(rows[-1:])


@dataclass(frozen=True, slots=True)
class _States:
    """Partial networks that may still become the best of some budget."""

    genes: Genes
    gain: FloatArray
    cost: FloatArray

    def extend(self, gain: FloatArray, cost: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the sums of every state with every option, flat, states first."""
        return (
            (self.gain[:, None] + gain[None]).reshape(-1),
            (self.cost[:, None] + cost[None]).reshape(-1),
        )


def exact_front(
    gain: AdditiveScore, cost: AdditiveScore, *, max_cost: float, tolerance: float = 0.0
) -> ExactFront:
    """Find the Pareto front of two sums over one space.

    Args:
        gain: To be maximised.
        cost: To be limited.
        max_cost: The largest budget.
        tolerance: Partial networks whose gains differ by less are told apart only by cost. Bounds
            the number of states; `ExactFront.max_loss` says what it may cost.
    """
    space = gain.space
    found = no_scored(space, 1)
    for resolution in range(len(space.resolutions_px)):
        chain = _Chain(gain, cost, resolution, max_cost, tolerance)
        states = chain.run()
        found = found.join(Scored(states.genes, states.gain, states.cost[:, None]))
    # The sums again in one order, so that equal networks have equal values.
    found = Scored(found.genes, gain(found.genes), cost(found.genes)[:, None])
    found = found.take(found.costs[:, 0] <= max_cost)
    front = found.take(is_efficient(found.losses()))
    num_prunings = space.num_blocks + len(space.block_groups)
    return ExactFront(
        front=front.take(np.argsort(front.costs[:, 0], kind="stable")),
        max_loss=num_prunings * tolerance,
    )


@dataclass
class _Chain:
    """The dynamic program at one resolution."""

    gain: AdditiveScore
    cost: AdditiveScore
    resolution: int
    max_cost: float
    tolerance: float

    @property
    def space(self) -> SearchSpace:
        return self.gain.space

    def run(self) -> _States:
        genes = np.zeros((1, self.space.num_genes), dtype=np.int8)
        genes[:, self.space.columns["resolution"]] = self.resolution
        fixed = slice(self.resolution, self.resolution + 1)
        states = _States(genes, self.gain.fixed[fixed], self.cost.fixed[fixed])
        cheapest = [self._cheapest_group(g) for g in range(len(self.space.block_groups))]
        for index in range(len(cheapest)):
            states = self._group(states, index)
            reach = self.max_cost - sum(cheapest[index + 1 :])
            kept = np.flatnonzero(states.cost <= reach + _SLACK * abs(self.max_cost))
            states = _States(states.genes[kept], states.gain[kept], states.cost[kept])
        return states

    def _group(self, states: _States, index: int) -> _States:
        """Add one block group: block after block, and every depth that may end it."""
        group = self.space.block_groups[index]
        if self.space.is_coupled:  # each depth has blocks of its own
            ends = [
                end
                for place, depth in enumerate(group.depths)
                for end in self._ends(states, index, (depth,), self._coupled(index, place))
            ]
        else:
            ends = self._ends(states, index, group.depths, slice(len(group.expand_ratios)))
        genes = np.concatenate([end.genes for end in ends])
        gain = np.concatenate([end.gain for end in ends])
        cost = np.concatenate([end.cost for end in ends])
        kept = self._undominated(gain, cost)
        return _States(genes[kept], gain[kept], cost[kept])

    def _ends(
        self, states: _States, index: int, depths: Sequence[int], ratios: slice
    ) -> list[_States]:
        """Add block after block of some of the expand ratios, and end the group at the depths."""
        group = self.space.block_groups[index]
        ends: list[_States] = []
        for num_blocks in range(depths[-1] + 1):
            if num_blocks:
                slot = self.space.block_offsets[index] + num_blocks - 1
                states = self._block(states, slot, index, ratios)
            if num_blocks in depths:
                ends.append(self._end(states, index, group.depths.index(num_blocks)))
        return ends

    def _coupled(self, index: int, depth: int) -> slice:
        """Return the one expand ratio that goes with a depth."""
        ratio = depth if len(self.space.block_groups[index].expand_ratios) > 1 else 0
        return slice(ratio, ratio + 1)

    def _block(self, states: _States, slot: int, index: int, ratios: slice) -> _States:
        num_kernels = len(self.space.block_groups[index].kernel_sizes)
        num_ratios = ratios.stop - (ratios.start or 0)
        gain, cost = states.extend(
            *(
                sums.blocks[self.resolution, slot, :num_kernels, ratios].reshape(-1)
                for sums in (self.gain, self.cost)
            )
        )
        kept = self._undominated(gain, cost)
        parents, choice = np.divmod(kept, num_kernels * num_ratios)
        genes = states.genes[parents]
        kernel, ratio = np.divmod(choice, num_ratios)
        genes[:, self.space.columns["kernel_size"].start + slot] = kernel
        genes[:, self.space.columns["expand_ratio"].start + slot] = ratio + (ratios.start or 0)
        return _States(genes, gain[kept], cost[kept])

    def _end(self, states: _States, index: int, depth: int) -> _States:
        genes = states.genes.copy()
        genes[:, self.space.columns["depth"].start + index] = depth
        return _States(
            genes,
            states.gain + self.gain.depths[self.resolution, index, depth],
            states.cost + self.cost.depths[self.resolution, index, depth],
        )

    def _undominated(self, gain: FloatArray, cost: FloatArray) -> IntArray:
        """Return the states that no cheaper one equals in gain, up to the tolerance."""
        level = np.floor(gain / self.tolerance) if self.tolerance else gain
        return np.flatnonzero(is_efficient(np.column_stack([cost, -level])))

    def _cheapest_group(self, index: int) -> float:
        """Return the smallest cost that a group can have."""
        group = self.space.block_groups[index]
        offset = self.space.block_offsets[index]
        blocks = self.cost.blocks[self.resolution, offset : offset + group.max_depth]
        choices = blocks[:, : len(group.kernel_sizes), : len(group.expand_ratios)]
        smallest = choices.reshape(group.max_depth, -1).min(axis=1)
        ends = self.cost.depths[self.resolution, index]
        return min(
            float(smallest[:depth].sum() + ends[place]) for place, depth in enumerate(group.depths)
        )


def optimality_gaps(
    exact: ExactFront, budgets: Sequence[float], gains: Sequence[float]
) -> list[float]:
    """Return, for each budget, how far a found gain is from the best possible one."""
    gaps = []
    for budget, gain in zip(budgets, gains, strict=True):
        best = exact.best_within(budget)
        gaps.append(max(0.0, float(best.gain[0]) + exact.max_loss - gain) if len(best) else 0.0)
    return gaps
