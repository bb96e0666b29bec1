"""What a predictor sees of an architecture: groups of numbers with one meaning each."""

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace

FeatureGroups = dict[str, FloatArray]
"""Arrays (architectures, features of the group) by the name of the group."""


def feature_groups(space: SearchSpace, genes: Genes) -> FeatureGroups:
    """Return the chosen values of every elastic dimension and their sums.

    Kernel sizes, expand ratios and depths are ordered quantities, so a predictor that sees
    their values needs fewer samples than one that sees them one-hot; skipped blocks are zero.
    Each dimension is a group of its own, because an accuracy predictor that learns one length
    scale a group finds out which dimensions matter. Groups that never vary are left out.

    Args:
        space: The space of the genes.
        genes: Shape (architectures, genes).

    Returns:
        ``kernel_size`` and ``expand_ratio`` a block slot, ``depth`` a block group, ``totals``
        (sums of both over each block group), ``resolution`` and ``width`` where elastic; all
        divided by the largest choice, so about 0 to 1 (totals: 0 to the depth).
    """
    values = space.values(genes)
    groups: FeatureGroups = {}
    totals = []
    for name in ("kernel_size", "expand_ratio"):
        scaled = values[name] / _largest(space, name)
        groups[name] = scaled
        totals += [
            scaled[:, offset : offset + group.max_depth].sum(axis=1)
            for offset, group in zip(space.block_offsets, space.block_groups, strict=True)
        ]
    groups["depth"] = values["depth"] / _largest(space, "depth")
    groups["totals"] = np.stack(totals, axis=1)
    groups["resolution"] = values["resolution"] / _largest(space, "resolution")
    groups["width"] = values["width"] / _largest(space, "width")
    return {name: array for name, array in groups.items() if _varies(space, name)}


def one_hot_features(space: SearchSpace, genes: Genes) -> FloatArray:
    """Return one-hot genes (skipped blocks zero), the resolution as a number, and block counts.

    Args:
        space: The space of the genes.
        genes: Shape (architectures, genes).

    Returns:
        Shape (architectures, features): what a linear model needs to be additive over blocks.
    """
    hot = space.one_hot(genes)[:, len(space.resolutions_px) :]
    values = space.values(genes)
    resolution = values["resolution"] / _largest(space, "resolution")
    return np.concatenate([hot, resolution, resolution**2, values["depth"]], axis=1)


def one_hot_feature_slopes(space: SearchSpace) -> FloatArray:
    """Return by how much each choice of each gene is in each of the one-hot features.

    `one_hot_features` are ``space.one_hot(genes)`` times this.

    Returns:
        Shape (sum of choices, features).
    """
    resolutions = len(space.resolutions_px)
    size = int(space.num_choices.sum())
    scaled = np.array(space.resolutions_px) / _largest(space, "resolution")
    of_resolution = np.zeros((size, 2))
    of_resolution[:resolutions] = np.stack([scaled, scaled**2], axis=1)
    depths = space.choices[space.columns["depth"]]
    of_depth = np.zeros((size, len(depths)))
    start = int(space.num_choices[: space.columns["depth"].start].sum())
    for index, choices in enumerate(depths):
        of_depth[start : start + len(choices), index] = choices
        start += len(choices)
    return np.concatenate([np.eye(size)[:, resolutions:], of_resolution, of_depth], axis=1)


def _largest(space: SearchSpace, name: str) -> float:
    choices = space.choices[space.columns[name]]
    return max((values[-1] for values in choices), default=1.0)


def _varies(space: SearchSpace, name: str) -> bool:
    if name == "totals":
        return True
    return any(len(values) > 1 for values in space.choices[space.columns[name]])
