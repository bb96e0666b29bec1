"""Phases as data: what is drawn in each step, and for how long it is trained."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.training.recipes import build_teaching
from ofa_pipeline.training.sampling import SAMPLINGS, Sampling
from ofa_pipeline.training.schedule import Schedule
from ofa_pipeline.training.teaching import Teaching


class ArchSource(Protocol):
    """Where the architectures of a step come from."""

    @property
    def per_step(self) -> int:
        """Number of architectures that `draw` returns."""
        ...

    def draw(self, rng: np.random.Generator) -> Sequence[Arch]:
        """Draw the architectures of one step."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Subnets of a space, drawn anew in each step."""

    space: SearchSpace
    per_step: int
    sampling: Sampling = "uniform"

    def draw(self, rng: np.random.Generator) -> Sequence[Arch]:
        """Draw `per_step` architectures."""
        return SAMPLINGS[self.sampling](self.space, rng, self.per_step)


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
    teaching: Teaching = field(default_factory=lambda: build_teaching("previous"))
    """Who teaches the subnets, and what they minimize."""

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
