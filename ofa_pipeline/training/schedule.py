"""Learning rate as a pure function of the step."""

import math
from dataclasses import dataclass


def epochs_for(epochs: int, *, min_steps: int, steps_per_epoch: int) -> int:
    """Return the epochs of a phase: those asked for, or as many as make a number of steps.

    A few images make few steps an epoch, and a network needs steps, however few its images are.

    Args:
        epochs: Asked for, warm-up not included.
        min_steps: What they must amount to; 0 leaves the epochs as they are.
        steps_per_epoch: Whole batches of the training images; 0 counts as 1.
    """
    return max(epochs, -(-min_steps // max(1, steps_per_epoch)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Linear warm-up from zero, then a cosine down to zero or a part of it, step by step."""

    epochs: int
    """After the warm-up."""
    warmup_epochs: int
    learning_rate: float
    """At the top of the cosine, for the whole batch."""
    cosine: tuple[float, float] = (0.0, 1.0)
    """The part of the cosine that the epochs after the warm-up go through. Where a phase ends and
    the next begins at the same place, both share one cosine: nothing restarts."""

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
        start, end = self.cosine
        part = (step - warmup_steps) / (self.epochs * steps_per_epoch)
        progress = start + (end - start) * part
        return self.learning_rate / 2 * (1 + math.cos(math.pi * progress))
