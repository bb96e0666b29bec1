"""The best architectures of each niche, and which architectures were seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.arch import BoolArray, FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.search.pareto import crowding_order, is_efficient

Hashes = NDArray[np.uint64]

_FINGERPRINT_SEED = 0


class Fingerprints:
    """Remembers architectures by 64-bit fingerprints of their canonical genes."""

    def __init__(self, space: SearchSpace) -> None:
        """Draw the multipliers of the fingerprint."""
        rng = np.random.default_rng(_FINGERPRINT_SEED)
        self._factors = rng.integers(1, 2**63, size=space.num_genes, dtype=np.uint64) | np.uint64(1)
        self._seen: set[int] = set()

    def of(self, genes: Genes) -> Hashes:
        """Return the fingerprint of each row."""
        prints: Hashes = (genes.astype(np.uint64) + np.uint64(1)) @ self._factors
        return prints

    def take_new(self, genes: Genes) -> Genes:
        """Return the architectures that were not seen before, each once, and remember them."""
        return genes[self.new_rows(genes)]

    def new_rows(self, genes: Genes) -> IntArray:
        """Return the rows that were not seen before, each once, and remember them."""
        rows = self.unseen_rows(genes)
        self._seen.update(self.of(genes[rows]).tolist())
        return rows

    def unseen_rows(self, genes: Genes) -> IntArray:
        """Return the rows that were not seen before, each once."""
        prints = self.of(genes).tolist()
        first = dict(zip(reversed(prints), reversed(range(len(prints))), strict=True))
        rows = [row for value, row in first.items() if value not in self._seen]
        return np.sort(np.array(rows, dtype=np.int64))

    def __len__(self) -> int:
        """Return how many architectures were seen."""
        return len(self._seen)


@dataclass(frozen=True, slots=True)
class Scored:
    """Architectures with their gain and costs."""

    genes: Genes
    gain: FloatArray
    """Shape (architectures,)."""
    costs: FloatArray
    """Shape (architectures, costs)."""

    def __len__(self) -> int:
        """Return the number of architectures."""
        return len(self.gain)

    def take(self, rows: IntArray | BoolArray) -> "Scored":
        """Return some of them."""
        return Scored(self.genes[rows], self.gain[rows], self.costs[rows])

    def join(self, other: "Scored") -> "Scored":
        """Return these and the others."""
        return Scored(
            np.concatenate([self.genes, other.genes]),
            np.concatenate([self.gain, other.gain]),
            np.concatenate([self.costs, other.costs]),
        )

    def losses(self) -> FloatArray:
        """Return what the Pareto front minimises: negated gain, then the costs."""
        return np.column_stack([-self.gain, self.costs])


def no_scored(space: SearchSpace, num_costs: int) -> Scored:
    """Return an empty set."""
    return Scored(
        np.zeros((0, space.num_genes), dtype=np.int8), np.zeros(0), np.zeros((0, num_costs))
    )


class Niches:
    """The best architectures within each of many limits, and the front of all."""

    def __init__(self, limits: FloatArray, empty: Scored, *, size: int, front_size: int) -> None:
        """Keep at most `size` architectures a niche and `front_size` of the front.

        Args:
            limits: Upper limits of the costs, shape (niches, costs).
            empty: What every niche starts with.
            size: Size of each niche.
            front_size: Size of the front; the most crowded points are dropped beyond it.
        """
        self.limits = limits
        self.members = [empty] * len(limits)
        self.front = empty
        self._size = size
        self._front_size = front_size

    def add(self, found: Scored) -> None:
        """Let newly evaluated architectures compete in every niche that admits them."""
        for index, limit in enumerate(self.limits):
            members = self.members[index]
            rival = (found.costs <= limit).all(axis=1)
            if len(members) >= self._size:
                rival &= found.gain > members.gain[-1]
            if rival.any():
                joined = members.join(found.take(rival))
                order = np.argsort(-joined.gain, kind="stable")[: self._size]
                self.members[index] = joined.take(order)
        self._add_to_front(found)

    def _add_to_front(self, found: Scored) -> None:
        candidates = found.take(is_efficient(found.losses()))
        joined = self.front.join(candidates)
        front = joined.take(is_efficient(joined.losses()))
        if len(front) > self._front_size:
            kept = np.sort(crowding_order(front.losses())[: self._front_size])
            front = front.take(kept)
        self.front = front

    def bars(self, costs: FloatArray) -> FloatArray:
        """Return what a gain must exceed to enter some niche; infinity where none admits it.

        Args:
            costs: Shape (architectures, costs).
        """
        lowest = [m.gain[-1] if len(m) >= self._size else -np.inf for m in self.members]
        within = np.all(costs[:, None] <= self.limits[None], axis=2)
        bars: FloatArray = np.where(within, np.array(lowest), np.inf).min(axis=1)
        return bars

    def best_gains(self) -> FloatArray:
        """Return the best gain of each niche, minus infinity where it is empty."""
        return np.array([m.gain[0] if len(m) else -np.inf for m in self.members])
