"""Coupled spaces: the depth of a block group decides the expand ratio of its blocks.

Depths and expand ratios of a group pair up in ascending order: with depths 2, 3, 4 and expand
ratios 3, 4, 6 a group of depth 2 has ratio 3 in all its blocks, one of depth 4 has ratio 6. Gene
arrays keep their columns, so predictors and tables of a space stay as they are; the genes of the
expand ratios follow those of the depths.

Source:
    CompOFA, Sahni et al. 2021 (arXiv:2104.12642), section 3.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.arch.shape import BlockGroup
from ofa_pipeline.errors import ArchError

if TYPE_CHECKING:
    from ofa_pipeline.arch.space import SearchSpace


def check_coupling(space: "SearchSpace") -> None:
    """Check that every depth of a coupled space has an expand ratio of its own.

    A group with a single expand ratio, as a ResNet's stem, has nothing to couple.

    Raises:
        ArchError: If a block group has another number of expand ratios than of depths.
    """
    for index, group in enumerate(space.block_groups):
        if space.is_coupled and len(group.expand_ratios) not in (1, len(group.depths)):
            raise ArchError(
                f"a coupled space must have as many expand ratios as depths in each block group, "
                f"but block_groups[{index}] of {space.space_id} has depths "
                f"{_text(group.depths)} and expand ratios {_text(group.expand_ratios)}. Give both "
                "as many choices, or leave the space uncoupled."
            )


def check_pairs(space: "SearchSpace", groups: Sequence[BlockGroup]) -> None:
    """Check that a part of a coupled space keeps whole pairs of depth and expand ratio.

    Args:
        space: The whole space, coupled or not.
        groups: Its block groups with fewer choices.

    Raises:
        ArchError: If a depth would have another expand ratio than in the whole space.
    """
    if not space.is_coupled:
        return
    for index, (whole, kept) in enumerate(zip(space.block_groups, groups, strict=True)):
        expected = tuple(dict.fromkeys(ratio_of(whole, depth) for depth in kept.depths))
        if kept.expand_ratios != expected:
            raise ArchError(
                f"depths {_text(kept.depths)} must come with the expand ratios {_text(expected)} "
                f"in block_groups[{index}] of {space.space_id}, which is coupled, got "
                f"{_text(kept.expand_ratios)}"
            )


def ratio_of(group: BlockGroup, depth: int) -> float:
    """Return the expand ratio that goes with a depth in a coupled space."""
    is_free = len(group.expand_ratios) > 1
    return group.expand_ratios[group.depths.index(depth) if is_free else 0]


def ratios_of_slots(space: "SearchSpace", depths: Sequence[float]) -> list[float]:
    """Return the expand ratio of each block slot that goes with the depths of the groups."""
    return [
        ratio_of(group, int(depth))
        for group, depth in zip(space.block_groups, depths, strict=True)
        for _ in range(group.max_depth)
    ]


def couple(space: "SearchSpace", genes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return genes whose expand ratios follow the depths; those given, where nothing is coupled."""
    if not space.is_coupled:
        return genes
    is_free = np.array([len(group.expand_ratios) > 1 for group in space.block_groups])
    sizes = [group.max_depth for group in space.block_groups]
    coupled = genes.copy()
    coupled[:, space.columns["expand_ratio"]] = np.repeat(
        genes[:, space.columns["depth"]] * is_free, sizes, axis=1
    )
    return coupled


def _text(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
