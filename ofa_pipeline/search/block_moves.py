"""What changing one block, one depth or the resolution of an architecture would do, by estimate.

The effects on the gain are first-order, from the slopes of a predictor; those on the cost come
from the sum over blocks that is closest to it. Both only propose: what is proposed is evaluated.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.arch import (
    BoolArray,
    FloatArray,
    Genes,
    IntArray,
    SearchSpace,
    resolution_choices,
)
from ofa_pipeline.search.additive import AdditiveScore

Single = NDArray[np.float32]
"""Half as wide as usual: what only proposes need not be exact."""

_NEVER = np.float32(-np.inf)


@dataclass(frozen=True, slots=True)
class Effects:
    """What every move does to each architecture, shape (architectures, moves)."""

    gain: Single
    """Minus infinity where a move changes nothing."""
    cost: Single
    filled: Genes
    """The architectures, with a choice for skipped blocks, too: what a deeper one would run."""


class BlockMoves:
    """All single moves in a space without elastic width.

    A move sets kernel size and expand ratio of one block that runs, or the depth of one block
    group, or the resolution; in this order along the columns of `Effects`.
    """

    def __init__(self, space: SearchSpace, cost: AdditiveScore) -> None:
        """Prepare the tables.

        Args:
            space: Without elastic width.
            cost: The sum that stands for the cost.
        """
        self.space = space
        self._kernel, self._expand = space.columns["kernel_size"], space.columns["expand_ratio"]
        self._depth = space.columns["depth"]
        num_resolutions, num_blocks, self._num_kernels, self._num_expands = cost.blocks.shape
        self._blocks = cost.blocks.reshape(num_resolutions, num_blocks, -1).astype(np.float32)
        self._depths = cost.depths.astype(np.float32)
        self._fixed = cost.fixed.astype(np.float32)
        self._num_depths = self._depths.shape[2]
        starts = np.concatenate([[0], np.cumsum(space.num_choices)[:-1]])
        self._kernel_inputs, self._expand_inputs, self._is_option = self._options(starts)
        self._depth_inputs, self._is_depth = self._of_depths(starts)
        self._num_options = self._blocks.shape[1] * self._blocks.shape[2]

    def _options(self, starts: IntArray) -> tuple[IntArray, IntArray, Single]:
        """Return the slopes of each option's kernel size and expand ratio; -inf for no option."""
        counts = self.space.num_choices
        kernels = np.repeat(np.arange(self._num_kernels), self._num_expands)
        expands = np.tile(np.arange(self._num_expands), self._num_kernels)
        num_kernels, num_expands = counts[self._kernel][:, None], counts[self._expand][:, None]
        exists = (kernels < num_kernels) & (expands < num_expands)
        kernel_inputs = starts[self._kernel][:, None] + np.minimum(kernels, num_kernels - 1)
        expand_inputs = starts[self._expand][:, None] + np.minimum(expands, num_expands - 1)
        return kernel_inputs, expand_inputs, np.where(exists, 0.0, _NEVER).astype(np.float32)

    def _of_depths(self, starts: IntArray) -> tuple[IntArray, Single]:
        choices = np.arange(self._num_depths)
        counts = self.space.num_choices[self._depth][:, None]
        inputs = starts[self._depth][:, None] + np.minimum(choices, counts - 1)
        return inputs, np.where(choices < counts, 0.0, _NEVER).astype(np.float32)

    def effects(self, genes: Genes, slopes: FloatArray, prices: FloatArray) -> Effects:
        """Return what every move does to each architecture.

        Args:
            genes: Canonical, shape (architectures, genes).
            slopes: Slopes of the gain by each choice of each gene, shape (architectures, choices).
            prices: Gain that a unit of cost is worth, shape (architectures,): chooses the blocks
                that a deeper architecture would run.
        """
        resolution = resolution_choices(self.space, genes)
        runs = self.space.active_blocks(genes)
        steep: Single = slopes.astype(np.float32, copy=False)
        gains = steep[:, self._kernel_inputs] + steep[:, self._expand_inputs] + self._is_option
        costs = self._blocks[resolution]
        kernels = genes[:, self._kernel].astype(np.int64)
        options = kernels * self._num_expands + genes[:, self._expand]
        worth = gains - prices[:, None, None].astype(np.float32) * costs
        options = np.where(runs, options, worth.argmax(axis=2))
        own_gain, own_cost = _taken(gains, options), _taken(costs, options)
        gain = np.where(runs[:, :, None], gains - own_gain[:, :, None], _NEVER)
        np.put_along_axis(gain, options[:, :, None], _NEVER, axis=2)
        cost = costs - own_cost[:, :, None]
        deeper = self._deeper(genes, steep, own_gain, own_cost, resolution)
        sharper = self._sharper(genes, steep, options, runs)
        filled = genes.copy()
        filled[:, self._kernel] = options // self._num_expands
        filled[:, self._expand] = options % self._num_expands
        count = len(genes)
        return Effects(
            gain=np.concatenate([gain.reshape(count, -1), deeper[0], sharper[0]], axis=1),
            cost=np.concatenate([cost.reshape(count, -1), deeper[1], sharper[1]], axis=1),
            filled=filled,
        )

    def _deeper(
        self,
        genes: Genes,
        slopes: Single,
        gains: Single,
        costs: Single,
        resolution: IntArray,
    ) -> tuple[Single, Single]:
        """Return what every depth of every block group does, flat."""
        own = genes[:, self._depth].astype(np.int64)[:, :, None]
        gain = slopes[:, self._depth_inputs] + self._is_depth
        cost = self._depths[resolution].copy()
        for index, (group, offset) in enumerate(
            zip(self.space.block_groups, self.space.block_offsets, strict=True)
        ):
            for place, depth in enumerate(group.depths):
                gain[:, index, place] += gains[:, offset : offset + depth].sum(axis=1)
                cost[:, index, place] += costs[:, offset : offset + depth].sum(axis=1)
        gain -= np.take_along_axis(gain, own, axis=2)
        cost -= np.take_along_axis(cost, own, axis=2)
        np.put_along_axis(gain, own, _NEVER, axis=2)
        return gain.reshape(len(genes), -1), cost.reshape(len(genes), -1)

    def _sharper(
        self, genes: Genes, slopes: Single, options: IntArray, runs: BoolArray
    ) -> tuple[Single, Single]:
        """Return what every resolution does."""
        rows, own = np.arange(len(genes)), resolution_choices(self.space, genes)
        gain = slopes[:, : len(self._fixed)].copy()
        gain -= gain[rows, own][:, None]
        gain[rows, own] = _NEVER
        slots, groups = np.arange(options.shape[1]), np.arange(len(self.space.block_groups))
        by_block = (self._blocks[:, slots[None], options] * runs).sum(axis=2)
        by_depth = self._depths[:, groups[None], genes[:, self._depth]].sum(axis=2)
        cost = self._fixed[:, None] + by_block + by_depth
        return gain, (cost - cost[own, rows][None]).T

    def apply(self, filled: Genes, moves: IntArray) -> Genes:
        """Return the architectures after one move each, canonical.

        Args:
            filled: See `Effects`.
            moves: Columns of the effects, shape (architectures,).
        """
        changed = filled.copy()
        per_block = self._num_kernels * self._num_expands
        rows = np.flatnonzero(moves < self._num_options)
        block, option = np.divmod(moves[rows], per_block)
        changed[rows, self._kernel.start + block] = option // self._num_expands
        changed[rows, self._expand.start + block] = option % self._num_expands
        rest = moves - self._num_options
        num_depth_moves = len(self.space.block_groups) * self._num_depths
        rows = np.flatnonzero((rest >= 0) & (rest < num_depth_moves))
        group, depth = np.divmod(rest[rows], self._num_depths)
        changed[rows, self._depth.start + group] = depth
        rows = np.flatnonzero(rest >= num_depth_moves)
        changed[rows, 0] = rest[rows] - num_depth_moves
        return self.space.canonicalize(changed)


def _taken(values: Single, options: IntArray) -> Single:
    taken: Single = np.take_along_axis(values, options[:, :, None], axis=2)[:, :, 0]
    return taken
