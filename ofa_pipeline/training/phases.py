"""Phases as data: what is drawn in each step, and for how long it is trained."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.training.schedule import Schedule


class ArchSource(Protocol):
    """Where the architectures of a step come from."""

    @property
    def per_step(self) -> int:
        """Number of architectures that `draw` returns."""
        ...

    def draw(self, rng: np.random.Generator) -> Sequence[Arch]:
        """Draw the architectures of one step."""
        ...


Sampling = Literal["uniform", "sandwich", "largest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Subnets of a space, drawn anew in each step.

    ``uniform``: uniform draws, with one image size for the step, as the reference trains.
    ``sandwich``: the largest, the smallest, and uniform draws, each at its own image size. Training
    the ends in every step bounds what all others reach (Yu & Huang 2019, arXiv:1903.05134, section
    3.1), and the largest is nearly as good as trained alone only where it always sees its own
    image size (docs/recipes.md). ``largest``: only the largest, at the largest image size.
    """

    space: SearchSpace
    per_step: int
    sampling: Sampling = "uniform"

    def draw(self, rng: np.random.Generator) -> Sequence[Arch]:
        """Draw `per_step` architectures."""
        if self.sampling == "largest":
            return (self.space.largest,) * self.per_step
        genes = self.space.sample(rng, self.per_step)
        if self.sampling == "sandwich":
            ends = self.space.genes([self.space.largest, self.space.smallest])[: self.per_step]
            genes[: len(ends)] = ends
        else:
            resolution = self.space.columns["resolution"]
            genes[:, resolution] = genes[0, resolution].copy()
        return self.space.archs(genes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Always the same architecture: fine-tuning, or training from scratch."""

    arch: Arch

    @property
    def per_step(self) -> int:
        """One."""
        return 1

    def draw(self, rng: np.random.Generator) -> Sequence[Arch]:  # noqa: ARG002 - the protocol's
        """Return the architecture."""
        return (self.arch,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase of progressive shrinking."""

    name: str
    archs: ArchSource
    schedule: Schedule
    first_share: float | None = None
    """Weight of the first subnet's gradient in a step; the others share the rest equally.
    None: as much as each of them."""
    in_place: bool = False
    """Whether the first subnet of a step teaches the others (BigNAS, Yu et al. 2020,
    arXiv:2003.11142, section 3.1): it learns from the labels, they from its soft labels."""

    def shares(self, num_archs: int) -> tuple[float, ...]:
        """Return what the gradient of each subnet of a step counts; they sum to one."""
        if self.first_share is None or num_archs == 1:
            return (1 / num_archs,) * num_archs
        rest = (1 - self.first_share) / (num_archs - 1)
        return (self.first_share, *(rest,) * (num_archs - 1))


def derive_seed(*labels: str | int) -> int:
    """Return a seed below 2**63 that is a function of the labels.

    Every random draw of training has its own seed, made of the seed of params.yaml, the phase,
    the step and the purpose. So nothing random has to be saved to resume exactly.
    """
    text = json.dumps(labels)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
