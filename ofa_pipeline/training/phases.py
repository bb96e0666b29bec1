"""Phases as data: what is drawn in each step, and for how long it is trained."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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
        """Draw the architectures of one step; all of them have the same resolution."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Uniform draws from a space, one resolution for the step.

    The subnets of a step share their images, so they share the resolution too.
    """

    space: SearchSpace
    per_step: int
    sandwich: bool = False
    """Whether the first is the largest of the space and the second the smallest: training the
    ends in every step bounds what all others reach (Yu & Huang 2019, arXiv:1903.05134,
    section 3.1)."""

    def draw(self, rng: np.random.Generator) -> Sequence[Arch]:
        """Draw `per_step` architectures."""
        genes = self.space.sample(rng, self.per_step)
        resolution = self.space.columns["resolution"]
        of_step = genes[0, resolution].copy()
        if self.sandwich:
            ends = self.space.genes([self.space.largest, self.space.smallest])[: self.per_step]
            genes[: len(ends)] = ends
        genes[:, resolution] = of_step
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


def derive_seed(*labels: str | int) -> int:
    """Return a seed below 2**63 that is a function of the labels.

    Every random draw of training has its own seed, made of the seed of params.yaml, the phase,
    the step and the purpose. So nothing random has to be saved to resume exactly.
    """
    text = json.dumps(labels)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
