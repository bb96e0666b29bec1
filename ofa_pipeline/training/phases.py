"""Phases as data: what is drawn in each step, and for how long it is trained."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.training.recipe import Recipe
from ofa_pipeline.training.recipes import build_teaching
from ofa_pipeline.training.regularization import LargestOnly, Regularization
from ofa_pipeline.training.sampling import USUAL_RESOLUTION, Resolution, Sampling, draw
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
    resolution: Resolution | None = None
    """None: what is usual for the sampling."""

    @property
    def shares_resolution(self) -> bool:
        """Whether all subnets of a step see the images at one size."""
        return self._resolution == "step"

    @property
    def _resolution(self) -> Resolution:
        return self.resolution or USUAL_RESOLUTION[self.sampling]

    def draw(self, rng: np.random.Generator) -> Sequence[Arch]:
        """Draw `per_step` architectures."""
        return draw(
            self.space,
            rng,
            self.per_step,
            sampling=self.sampling,
            resolution=self._resolution,
        )


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

    largest_only: LargestOnly | None = None
    """Regularization that only the first subnet of a step has; None: all have the recipe's."""
    clip_value: float | None = None
    """Largest magnitude of an entry of the step's gradient, which is a mean over its subnets."""
    ramp_steps: int = 0
    """Steps over which the others but the first come to count as much as they do in the end."""

    @property
    def remedy(self) -> str:
        """What to change in params.yaml where the phase diverges."""
        if isinstance(self.archs, Fixed):
            return "Lower specialize.learning_rate."
        key = f"phases.{self.name}"
        if self.schedule.cosine[0]:
            return f"Lower {key}.learning_rate, or clip gradients with {key}.clip_value."
        return (
            f"Lower {key}.learning_rate, lengthen {key}.warmup_epochs, or clip gradients with "
            f"{key}.clip_value."
        )

    def shares(self, num_archs: int, *, number: int | None = None) -> tuple[float, ...]:
        """Return what the gradient of each subnet of a step counts; in the end they sum to one.

        Args:
            num_archs: Subnets of the step.
            number: That of the step, from the start of the phase; None: after the ramp.
        """
        first, rest = 1 / num_archs, 1 / num_archs
        if self.first_share is not None and num_archs > 1:
            first, rest = self.first_share, (1 - self.first_share) / (num_archs - 1)
        if number is not None and number < self.ramp_steps:
            rest *= (number + 1) / self.ramp_steps
        return (first, *(rest,) * (num_archs - 1))

    def regularization(self, subnet: int, recipe: Recipe) -> Regularization:
        """Return what a subnet of a step is trained with, by its place there."""
        given = self.largest_only or LargestOnly()
        return given.of(subnet, label_smoothing=recipe.label_smoothing)


def derive_seed(*labels: str | int) -> int:
    """Return a seed below 2**63 that is a function of the labels.

    Every random draw of training has its own seed, made of the seed of params.yaml, the phase,
    the step and the purpose. So nothing random has to be saved to resume exactly.
    """
    text = json.dumps(labels)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
