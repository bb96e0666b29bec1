"""Search spaces: the choices of every elastic dimension, and gene arrays over them.

Gene layout, one row an architecture, each gene an index into the choices of its dimension:
``[resolution | widths | depths | kernel sizes | expand ratios]``. Genes of blocks that the depth
skips are 0 in a canonical row, so that equal rows mean equal networks.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.arch.choices import (
    check_arch,
    check_choice,
    check_choices,
    check_subset,
    narrow,
    narrow_groups,
    per_item,
    values_of_blocks,
)
from ofa_pipeline.arch.coupling import couple, ratios_of_slots
from ofa_pipeline.arch.shape import Backbone, BlockGroup, read_shape, write_shape
from ofa_pipeline.arch.value import Arch
from ofa_pipeline.errors import ArchError

Genes = NDArray[np.int8]
"""Shape (architectures, genes)."""
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """The choices of every elastic dimension, and the network around them."""

    space_id: str
    resolutions_px: tuple[int, ...]
    """Ascending."""
    block_groups: tuple[BlockGroup, ...]
    backbone: Backbone
    width_multipliers: tuple[float, ...] = ()
    """Ascending; empty where width is not elastic."""
    num_width_sites: int = 0
    is_coupled: bool = False
    """Whether the depth of a block group decides its expand ratio: `ofa_pipeline.arch.coupling`."""
    block_offsets: tuple[int, ...] = field(init=False)
    """Index of the first block slot of each block group."""

    def __post_init__(self) -> None:
        """Check that every choice is there, ascending and without repeats.

        Raises:
            ArchError: If a list of choices is empty, unsorted, or holds an even kernel size.
        """
        check_choices(self)
        depths = [group.max_depth for group in self.block_groups]
        offsets = np.concatenate([[0], np.cumsum(depths)[:-1]])
        object.__setattr__(self, "block_offsets", tuple(int(v) for v in offsets))

    # ---- shape of the gene array -------------------------------------------------------------

    @cached_property
    def num_blocks(self) -> int:
        """Number of block slots of the supernet."""
        return sum(group.max_depth for group in self.block_groups)

    @cached_property
    def num_genes(self) -> int:
        """Number of columns of a gene array."""
        return 1 + self.num_width_sites + len(self.block_groups) + 2 * self.num_blocks

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Columns of each dimension in a gene array."""
        sizes = {
            "resolution": 1,
            "width": self.num_width_sites,
            "depth": len(self.block_groups),
            "kernel_size": self.num_blocks,
            "expand_ratio": self.num_blocks,
        }
        starts = np.concatenate([[0], np.cumsum(list(sizes.values()))])
        return {
            name: slice(int(start), int(start) + size)
            for (name, size), start in zip(sizes.items(), starts[:-1], strict=True)
        }

    @cached_property
    def choices(self) -> tuple[tuple[float, ...], ...]:
        """Choices of each gene, in gene order."""
        blocks = [group for group in self.block_groups for _ in range(group.max_depth)]
        return (
            self.resolutions_px,
            *[self.width_multipliers] * self.num_width_sites,
            *[group.depths for group in self.block_groups],
            *[group.kernel_sizes for group in blocks],
            *[group.expand_ratios for group in blocks],
        )

    @cached_property
    def num_choices(self) -> IntArray:
        """Number of choices of each gene, shape (genes,)."""
        return np.array([len(choices) for choices in self.choices], dtype=np.int64)

    @cached_property
    def num_archs(self) -> int:
        """Number of different architectures, exactly."""
        total: int = len(self.resolutions_px)
        for _ in range(self.num_width_sites):
            total *= len(self.width_multipliers)
        for group in self.block_groups:
            per_block = len(group.kernel_sizes)
            per_block *= 1 if self.is_coupled else len(group.expand_ratios)
            total *= sum(per_block**depth for depth in group.depths)
        return total

    @cached_property
    def _choice_table(self) -> FloatArray:
        table = np.zeros((self.num_genes, int(self.num_choices.max())))
        for gene, choices in enumerate(self.choices):
            table[gene, : len(choices)] = choices
        return table

    # ---- architectures -----------------------------------------------------------------------

    @cached_property
    def largest(self) -> Arch:
        """The architecture with every choice at its maximum."""
        return self.archs((self.num_choices - 1)[None].astype(np.int8))[0]

    @cached_property
    def smallest(self) -> Arch:
        """The architecture with every choice at its minimum."""
        return self.archs(np.zeros((1, self.num_genes), dtype=np.int8))[0]

    def arch(
        self,
        *,
        resolution_px: int | None = None,
        depths: int | Sequence[int] | None = None,
        kernel_sizes: int | Sequence[int] | None = None,
        expand_ratios: float | Sequence[float] | None = None,
        width_multipliers: float | Sequence[float] | None = None,
    ) -> Arch:
        """Build an architecture of this space.

        Every argument is one number for all, or a list; what is left out is at its maximum, expand
        ratios of a coupled space are those of the depths.
        Lists of kernel sizes and expand ratios have one entry for each block slot of the
        supernet (entries of skipped blocks are ignored) or one for each block that runs.

        Raises:
            ArchError: If a value is not among the choices or a list has a wrong length.
        """
        groups = self.block_groups
        depth_list = per_item(depths, [group.max_depth for group in groups], "depths")
        for index, (depth, group) in enumerate(zip(depth_list, groups, strict=True)):
            check_choice(depth, group.depths, f"depths[{index}] of {self.space_id}")
        if expand_ratios is None and self.is_coupled:
            expand_ratios = ratios_of_slots(self, depth_list)
        active = [
            offset + block
            for offset, depth in zip(self.block_offsets, depth_list, strict=True)
            for block in range(int(depth))
        ]
        widths = [self.width_multipliers[-1]] * self.num_width_sites if self.num_width_sites else []
        arch = Arch(
            resolution_px=self.resolutions_px[-1] if resolution_px is None else resolution_px,
            depths=tuple(int(depth) for depth in depth_list),
            kernel_sizes=tuple(
                int(v) for v in values_of_blocks(self, kernel_sizes, "kernel_sizes", active)
            ),
            expand_ratios=tuple(values_of_blocks(self, expand_ratios, "expand_ratios", active)),
            width_multipliers=tuple(per_item(width_multipliers, widths, "width_multipliers")),
        )
        self.check(arch)
        return arch

    def check(self, arch: Arch) -> None:
        """Check that the architecture is one of this space.

        Raises:
            ArchError: Naming the first value that is not, and the choices.
        """
        check_arch(self, arch)

    def restrict(
        self,
        *,
        resolutions_px: Sequence[int] | None = None,
        depths: Sequence[int] | Sequence[Sequence[int]] | None = None,
        kernel_sizes: Sequence[int] | Sequence[Sequence[int]] | None = None,
        expand_ratios: Sequence[float] | None = None,
        width_multipliers: Sequence[float] | None = None,
        is_coupled: bool = False,
    ) -> "SearchSpace":
        """Return the space with fewer choices, as a phase of progressive shrinking samples it.

        A dimension with a single choice in some block group keeps it there. Architectures of the
        result are architectures of this space. Depths and kernel sizes are one list for all block
        groups, or a list for each, where the groups have different ones (ResNet). A coupled space
        stays so.

        Raises:
            ArchError: If a value is not a choice of this space, or it cannot be coupled like that.
        """
        groups = narrow_groups(
            self, depths=depths, kernel_sizes=kernel_sizes, expand_ratios=expand_ratios
        )
        check_subset(resolutions_px, self.resolutions_px, f"resolutions_px of {self.space_id}")
        check_subset(
            width_multipliers, self.width_multipliers, f"width_multipliers of {self.space_id}"
        )
        return replace(
            self,
            block_groups=groups,
            resolutions_px=narrow(self.resolutions_px, resolutions_px),
            width_multipliers=narrow(self.width_multipliers, width_multipliers),
            is_coupled=self.is_coupled or is_coupled,
        )

    # ---- gene arrays -------------------------------------------------------------------------

    def genes(self, archs: Iterable[Arch]) -> Genes:
        """Turn architectures into canonical genes, shape (architectures, genes).

        Raises:
            ArchError: If an architecture is not of this space.
        """
        rows = [self._genes_of(arch) for arch in archs]
        return np.array(rows, dtype=np.int8).reshape(len(rows), self.num_genes)

    def _genes_of(self, arch: Arch) -> list[int]:
        self.check(arch)
        kernels = [0] * self.num_blocks
        expands = [0] * self.num_blocks
        block = 0
        for offset, depth, group in zip(
            self.block_offsets, arch.depths, self.block_groups, strict=True
        ):
            for slot in range(offset, offset + depth):
                kernels[slot] = group.kernel_sizes.index(arch.kernel_sizes[block])
                expands[slot] = group.expand_ratios.index(arch.expand_ratios[block])
                block += 1
        return [
            self.resolutions_px.index(arch.resolution_px),
            *[self.width_multipliers.index(width) for width in arch.width_multipliers],
            *[
                group.depths.index(depth)
                for group, depth in zip(self.block_groups, arch.depths, strict=True)
            ],
            *kernels,
            *expands,
        ]

    def archs(self, genes: Genes) -> list[Arch]:
        """Turn genes into architectures; genes of skipped blocks are ignored."""
        values = self.values(self.check_genes(genes))
        active = self.active_blocks(genes)
        return [
            Arch(
                resolution_px=int(values["resolution"][row, 0]),
                width_multipliers=tuple(values["width"][row]),
                depths=tuple(int(v) for v in values["depth"][row]),
                kernel_sizes=tuple(int(v) for v in values["kernel_size"][row, active[row]]),
                expand_ratios=tuple(values["expand_ratio"][row, active[row]]),
            )
            for row in range(len(genes))
        ]

    def check_genes(self, genes: Genes) -> Genes:
        """Return the genes, checked for shape and range; of a coupled space, coupled.

        Raises:
            ArchError: If the array has another width or an index is out of range.
        """
        if genes.shape[1:] != (self.num_genes,):
            raise ArchError(
                f"genes of {self.space_id} must have shape (architectures, {self.num_genes}), "
                f"got {genes.shape}"
            )
        bad = (genes < 0) | (genes >= self.num_choices)
        if bad.any():
            row, gene = (int(v) for v in np.argwhere(bad)[0])
            raise ArchError(
                f"gene {gene} of row {row} must be in 0..{self.num_choices[gene] - 1}, "
                f"got {genes[row, gene]}"
            )
        return couple(self, genes)

    def values(self, genes: Genes) -> dict[str, FloatArray]:
        """Look up the chosen values, one array (architectures, genes of the dimension) each.

        Kernel sizes and expand ratios of skipped blocks are 0.
        """
        table = self._choice_table[np.arange(self.num_genes)[None], genes]
        values = {name: table[:, columns] for name, columns in self.columns.items()}
        active = self.active_blocks(genes)
        values["kernel_size"] = values["kernel_size"] * active
        values["expand_ratio"] = values["expand_ratio"] * active
        return values

    def active_blocks(self, genes: Genes) -> BoolArray:
        """Tell which block slots run, shape (architectures, blocks)."""
        depths = genes[:, self.columns["depth"]]
        result = np.empty((len(genes), self.num_blocks), dtype=np.bool_)
        for index, (offset, running) in enumerate(
            zip(self.block_offsets, self._running_blocks, strict=True)
        ):
            result[:, offset : offset + running.shape[1]] = running[depths[:, index]]
        return result

    @cached_property
    def _running_blocks(self) -> tuple[BoolArray, ...]:
        """Tell for each group which of its blocks run, shape (depth choices, blocks) each."""
        return tuple(
            np.arange(group.max_depth)[None] < np.array(group.depths)[:, None]
            for group in self.block_groups
        )

    def canonicalize(self, genes: Genes) -> Genes:
        """Return a copy with the genes of skipped blocks set to 0, and coupled if the space is."""
        active = self.active_blocks(genes)
        result = couple(self, genes.copy())
        result[:, self.columns["kernel_size"]] *= active
        result[:, self.columns["expand_ratio"]] *= active
        return result

    def sample(self, rng: np.random.Generator, count: int) -> Genes:
        """Draw canonical genes, every gene uniform and independent (as the reference does)."""
        drawn = rng.integers(0, self.num_choices, size=(count, self.num_genes))
        return self.canonicalize(drawn.astype(np.int8))

    def mutate(self, genes: Genes, rng: np.random.Generator, *, probability: float) -> Genes:
        """Redraw each gene with `probability`; blocks that begin to run are drawn afresh."""
        fresh = rng.integers(0, self.num_choices, size=genes.shape).astype(np.int8)
        result = np.where(rng.random(genes.shape) < probability, fresh, genes)
        grown = self.active_blocks(result) & ~self.active_blocks(genes)
        for name in ("kernel_size", "expand_ratio"):
            columns = self.columns[name]
            result[:, columns] = np.where(grown, fresh[:, columns], result[:, columns])
        return self.canonicalize(result)

    def crossover(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """Take each gene from one of two parents; a block comes from a parent that runs it."""
        child = np.where(rng.integers(0, 2, size=first.shape) == 0, first, second)
        in_first, in_second = self.active_blocks(first), self.active_blocks(second)
        for name in ("kernel_size", "expand_ratio"):
            columns = self.columns[name]
            mixed = np.where(in_first & ~in_second, first[:, columns], child[:, columns])
            child[:, columns] = np.where(in_second & ~in_first, second[:, columns], mixed)
        return self.canonicalize(child)

    def one_hot(self, genes: Genes) -> FloatArray:
        """Encode genes one-hot in gene order, shape (architectures, sum of choices).

        Entries of skipped blocks are all zero.
        """
        columns = [
            (genes[:, gene, None] == np.arange(count)[None]).astype(np.float64)
            for gene, count in enumerate(self.num_choices)
        ]
        active = self.active_blocks(genes)
        for name in ("kernel_size", "expand_ratio"):
            for slot, gene in enumerate(range(*self.columns[name].indices(self.num_genes))):
                columns[gene] *= active[:, slot, None]
        return np.concatenate(columns, axis=1)

    # ---- identity ----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON."""
        return write_shape(asdict(self), self.backbone)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SearchSpace":
        """Build from what `to_dict` returned.

        Raises:
            ArchError: If a key is missing or unknown.
        """
        try:
            return cls(**read_shape(values))
        except (KeyError, TypeError) as error:
            raise ArchError(f"not a search space: {error!r}") from error

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change with any choice or channel count."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
