"""The resolution of architectures in a gene array."""

import numpy as np

from ofa_pipeline.arch.space import Genes, IntArray, SearchSpace


def resolution_choices(space: SearchSpace, genes: Genes) -> IntArray:
    """Return the place of each architecture's resolution in ``space.resolutions_px``.

    Shape (architectures,).
    """
    return genes[:, space.columns["resolution"]][:, 0].astype(np.int64)


def resolution_values_px(space: SearchSpace, genes: Genes) -> IntArray:
    """Return the resolution of each architecture in pixels, shape (architectures,)."""
    return np.array(space.resolutions_px, dtype=np.int64)[resolution_choices(space, genes)]
