"""Which subnets of a space a step trains: a function a way."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from ofa_pipeline.arch import Arch, SearchSpace

Sampling = Literal["uniform", "sandwich", "largest"]


def draw_uniform(space: SearchSpace, rng: np.random.Generator, count: int) -> Sequence[Arch]:
    """Draw uniformly, with one image size for the step, as the reference trains."""
    genes = space.sample(rng, count)
    resolution = space.columns["resolution"]
    genes[:, resolution] = genes[0, resolution].copy()
    return space.archs(genes)


def draw_sandwich(space: SearchSpace, rng: np.random.Generator, count: int) -> Sequence[Arch]:
    """Draw the largest, the smallest, and uniformly, each at its own image size.

    Training the ends in every step bounds what all others reach, and the largest is nearly as good
    as trained alone only where it always sees its own image size (docs/recipes.md).

    Source:
        Yu & Huang 2019 (arXiv:1903.05134), section 3.1.
    """
    genes = space.sample(rng, count)
    ends = space.genes([space.largest, space.smallest])[:count]
    genes[: len(ends)] = ends
    return space.archs(genes)


def draw_largest(space: SearchSpace, rng: np.random.Generator, count: int) -> Sequence[Arch]:
    """Return only the largest, at the largest image size."""
    del rng
    return (space.largest,) * count


SAMPLINGS: Mapping[Sampling, Callable[[SearchSpace, np.random.Generator, int], Sequence[Arch]]] = {
    "uniform": draw_uniform,
    "sandwich": draw_sandwich,
    "largest": draw_largest,
}
