"""Which subnets of a space a step trains: a function a way."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from ofa_pipeline.arch import Arch, Genes, SearchSpace

Sampling = Literal["uniform", "sandwich", "largest"]
Resolution = Literal["step", "subnet", "drawn"]
"""Whether the subnets of a step share one image size or have one each: the ends of a sandwich their
own, or the smallest, too, one that is drawn."""
USUAL_RESOLUTION: Mapping[Sampling, Resolution] = {
    "uniform": "step",  # as the reference trains
    "sandwich": "subnet",
    "largest": "subnet",
}


_SMALLEST = 1
"""Where the smallest subnet of a sandwich is."""


def draw_uniform(space: SearchSpace, rng: np.random.Generator, count: int) -> Genes:
    """Draw uniformly."""
    return space.sample(rng, count)


def draw_sandwich(space: SearchSpace, rng: np.random.Generator, count: int) -> Genes:
    """Draw the largest, the smallest, and uniformly.

    Training the ends in every step bounds what all others reach, and the largest is nearly as good
    as trained alone only where it always sees its own image size (docs/recipes.md).

    Source:
        Yu & Huang 2019 (arXiv:1903.05134), section 3.1.
    """
    genes = space.sample(rng, count)
    ends = space.genes([space.largest, space.smallest])[:count]
    genes[: len(ends)] = ends
    return genes


def draw_largest(space: SearchSpace, rng: np.random.Generator, count: int) -> Genes:
    """Return only the largest, at the largest image size."""
    del rng
    return space.genes((space.largest,) * count)


SAMPLINGS: Mapping[Sampling, Callable[[SearchSpace, np.random.Generator, int], Genes]] = {
    "uniform": draw_uniform,
    "sandwich": draw_sandwich,
    "largest": draw_largest,
}


def draw(
    space: SearchSpace,
    rng: np.random.Generator,
    count: int,
    *,
    sampling: Sampling,
    resolution: Resolution,
) -> Sequence[Arch]:
    """Draw the subnets of a step, at one image size for all or at one each."""
    genes = SAMPLINGS[sampling](space, rng, count)
    column = space.columns["resolution"]
    if resolution == "step":
        # The last of a step is drawn in every way, also where the ends of the space come first.
        genes[:, column] = genes[0 if sampling == "uniform" else -1, column].copy()
    elif resolution == "drawn" and sampling == "sandwich":
        genes[_SMALLEST, column] = space.sample(rng, 1)[0, column]
    return space.archs(genes)
