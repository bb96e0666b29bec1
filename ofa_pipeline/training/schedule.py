"""Learning rate as a pure function of the step."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Linear warm-up from zero, then a cosine down to zero, step by step."""

    epochs: int
    """After the warm-up."""
    warmup_epochs: int
    learning_rate: float
    """At the end of the warm-up, for the whole batch."""

    @property
    def total_epochs(self) -> int:
        """Number of passes over the training images."""
        return self.epochs + self.warmup_epochs

    def at(self, step: int, *, steps_per_epoch: int) -> float:
        """Return the learning rate of a step, counted from the start of the first epoch.

        Source:
            Cosine as in the reference (Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5).
            The reference warms up from the learning rate of one GPU, which is no warm-up at all
            with one GPU; Goyal et al. 2017 (arXiv:1706.02677), section 2.2, ramp up gradually.
        """
        warmup_steps = self.warmup_epochs * steps_per_epoch
        if step < warmup_steps:
            return self.learning_rate * (step + 1) / warmup_steps
        progress = (step - warmup_steps) / (self.epochs * steps_per_epoch)
        return self.learning_rate / 2 * (1 + math.cos(math.pi * progress))
