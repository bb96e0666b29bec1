"""Quantities that are sums over blocks, and the sum that comes closest to any other.

What is a sum can be searched exactly, see `ofa_pipeline.search.exact`.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace, resolution_choices
from ofa_pipeline.errors import ArchError
from ofa_pipeline.search.objectives import Score

_CHECKED = 256  # random architectures on which a sum is compared with what it stands for
_PENALTY = 1e-6  # of the squared coefficients, so that what is not determined is small
_EXACT = 1e-6  # relative error of rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditiveScore:
    """A quantity that is a sum over resolution, depths and blocks, at each resolution its own."""

    space: SearchSpace
    fixed: FloatArray
    """Shape (resolutions,)."""
    depths: FloatArray
    """What a depth adds besides its blocks, shape (resolutions, groups, depth choices)."""
    blocks: FloatArray
    """Shape (resolutions, block slots, kernel choices, expand choices)."""

    def __call__(self, genes: Genes) -> FloatArray:
        """Return the sum for each architecture."""
        space = self.space
        resolution = resolution_choices(space, genes)
        groups = np.arange(len(space.block_groups))
        slots = np.arange(space.num_blocks)
        kernels = genes[:, space.columns["kernel_size"]]
        expands = genes[:, space.columns["expand_ratio"]]
        by_block = self.blocks[resolution[:, None], slots[None], kernels, expands]
        by_depth = self.depths[resolution[:, None], groups[None], genes[:, space.columns["depth"]]]
        total: FloatArray = self.fixed[resolution] + by_depth.sum(axis=1)
        total += (by_block * space.active_blocks(genes)).sum(axis=1)
        return total


@dataclass(frozen=True, slots=True)
class Additive:
    """A sum, and how far it is from the quantity that it stands for."""

    score: AdditiveScore
    max_error: float
    """Largest difference on random architectures."""
    is_exact: bool
    """Whether the difference is rounding only."""


def additive_part(space: SearchSpace, score: Score, *, seed: int = 0) -> Additive:
    """Take a quantity apart into a sum, by changing one block or depth of a network at a time.

    Gives the quantity itself where it is a sum: look-up tables, MACs, parameters, linear models.

    Args:
        space: Without elastic width, since a width would change what its blocks cost.
        score: The quantity.
        seed: Seed of the architectures on which the sum is checked.

    Raises:
        ArchError: If the space has elastic width.
    """
    _refuse_widths(space)
    probes = _Probes(space)
    return _checked(probes.sums(score(probes.genes())), score, seed)


def fit_additive(
    space: SearchSpace, genes: Genes, values: FloatArray, *, score: Score, seed: int = 0
) -> Additive:
    """Fit the sum that comes closest to a quantity on some architectures, by least squares.

    Args:
        space: Without elastic width.
        genes: Where the sum should be good, shape (architectures, genes).
        values: The quantity there, shape (architectures,).
        score: The quantity, to check the sum with.
        seed: Seed of the architectures on which the sum is checked.

    Raises:
        ArchError: If the space has elastic width.
    """
    _refuse_widths(space)
    rows = space.one_hot(genes)
    mean = values.mean()
    normal = rows.T @ rows + _PENALTY * len(rows) * np.eye(rows.shape[1])
    weights = np.linalg.solve(normal, rows.T @ (values - mean))
    return _checked(_from_one_hot(space, weights, float(mean)), score, seed)


def _from_one_hot(space: SearchSpace, weights: FloatArray, constant: float) -> AdditiveScore:
    starts = np.concatenate([[0], np.cumsum(space.num_choices)])
    by_gene = [weights[a:b] for a, b in itertools.pairwise(starts)]
    num = len(space.resolutions_px)
    kernel, expand = space.columns["kernel_size"].start, space.columns["expand_ratio"].start
    blocks, depths = _empty_tables(space)
    for slot in range(space.num_blocks):
        both = by_gene[kernel + slot][:, None] + by_gene[expand + slot][None]
        blocks[:, slot, : both.shape[0], : both.shape[1]] = both
    for index in range(len(space.block_groups)):
        values = by_gene[space.columns["depth"].start + index]
        depths[:, index, : len(values)] = values
    return AdditiveScore(
        space=space, fixed=constant + by_gene[0][:num], depths=depths, blocks=blocks
    )


def _checked(sums: AdditiveScore, score: Score, seed: int) -> Additive:
    sample = sums.space.sample(np.random.default_rng(seed), _CHECKED)
    truth = score(sample)
    error = float(np.abs(sums(sample) - truth).max())
    return Additive(sums, error, error <= _EXACT * float(np.abs(truth).max()))


def _refuse_widths(space: SearchSpace) -> None:
    if space.num_width_sites:
        raise ArchError(
            f"exact search needs sums over blocks; in {space.space_id} elastic widths change the "
            "cost of neighbouring blocks. Use the evolutionary search."
        )


def _empty_tables(space: SearchSpace) -> tuple[FloatArray, FloatArray]:
    """Return zeros for the blocks and the depths of every resolution."""
    groups = space.block_groups
    num = len(space.resolutions_px)
    kernels = max(len(group.kernel_sizes) for group in groups)
    expands = max(len(group.expand_ratios) for group in groups)
    blocks = np.zeros((num, space.num_blocks, kernels, expands))
    return blocks, np.zeros((num, len(groups), max(len(group.depths) for group in groups)))


@dataclass
class _Probes:
    """The smallest choices at the largest depth, with one block or one depth changed."""

    space: SearchSpace

    def genes(self) -> Genes:
        """Return the architectures: unchanged ones, changed blocks, changed depths."""
        rows = [self._with(r, {}) for r in range(len(self.space.resolutions_px))]
        rows += [self._with_block(*choice) for choice in self._block_choices()]
        depth = self.space.columns["depth"].start
        rows += [self._with(r, {depth + group: d}) for r, group, d in self._depth_choices()]
        return self.space.canonicalize(np.array(rows, dtype=np.int8))

    def sums(self, values: FloatArray) -> AdditiveScore:
        """Turn the values of `genes` into a sum that gives them back.

        A block's value is what its choice adds to the smallest choice; what the smallest choice
        itself adds is in the fixed part, and taken out by depths that skip the block. In a coupled
        space the depth has already added what its expand ratio does.
        """
        blocks, depths = _empty_tables(self.space)
        num, block_choices = len(self.space.resolutions_px), self._block_choices()
        fixed, rest = values[:num], values[num:]
        for (r, *where), value in zip(
            self._depth_choices(), rest[len(block_choices) :], strict=True
        ):
            depths[r, *where] = value - fixed[r]
        for (r, slot, kernel, expand), value in zip(block_choices, rest, strict=False):
            group = self._coupled_group(slot)
            by_depth = 0.0 if group is None else depths[r, group, expand]
            blocks[r, slot, kernel, expand] = value - fixed[r] - by_depth
        return AdditiveScore(space=self.space, fixed=fixed, depths=depths, blocks=blocks)

    def _block_choices(self) -> list[tuple[int, int, int, int]]:
        space = self.space
        return [
            (resolution, offset + block, kernel, expand)
            for resolution in range(len(space.resolutions_px))
            for group, offset in zip(space.block_groups, space.block_offsets, strict=True)
            for block in range(group.max_depth)
            for kernel in range(len(group.kernel_sizes))
            for expand in range(len(group.expand_ratios))
        ]

    def _depth_choices(self) -> list[tuple[int, int, int]]:
        return [
            (resolution, index, depth)
            for resolution in range(len(self.space.resolutions_px))
            for index, group in enumerate(self.space.block_groups)
            for depth in range(len(group.depths))
        ]

    def _with_block(self, resolution: int, slot: int, kernel: int, expand: int) -> Genes:
        """Return the architecture with one block changed, and the depth that it is coupled to."""
        columns, group = self.space.columns, self._coupled_group(slot)
        changes = {
            columns["kernel_size"].start + slot: kernel,
            columns["expand_ratio"].start + slot: expand,
        }
        if group is not None:
            changes[columns["depth"].start + group] = expand
        return self._with(resolution, changes)

    def _coupled_group(self, slot: int) -> int | None:
        """Return the block group whose depth decides the expand ratio of a block; None if none."""
        group = int(np.searchsorted(self.space.block_offsets, slot, side="right")) - 1
        is_free = len(self.space.block_groups[group].expand_ratios) > 1
        return group if self.space.is_coupled and is_free else None

    def _with(self, resolution: int, changes: Mapping[int, int]) -> Genes:
        row = np.zeros(self.space.num_genes, dtype=np.int8)
        depth = self.space.columns["depth"]
        row[depth] = self.space.num_choices[depth] - 1
        row[self.space.columns["resolution"]] = resolution
        for gene, choice in changes.items():
            row[gene] = choice
        return row
