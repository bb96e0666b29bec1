"""Losses of the steps, read from the device now and then: reading waits for all that it has to do.

Whoever saves reads first, so a checkpoint is never of a training that has diverged.
"""

import math

import torch
from torch import Tensor

from ofa_pipeline.errors import TrainingDivergedError
from ofa_pipeline.training.checkpoint import Position

STEPS_UNREAD = 50
"""Most losses that wait on an accelerator; on the CPU each is read at once, for nothing."""


class Losses:
    """Adds the losses of steps to the position, once they are read and found finite."""

    def __init__(self, phase_name: str, at: Position, *, remedy: str | None = None) -> None:
        """Add to the losses of an unfinished epoch.

        Args:
            phase_name: Of the phase that is trained.
            at: Where it is.
            remedy: What to change where it diverges; None: the rate of the phase.
        """
        self._phase_name = phase_name
        self._remedy = remedy or f"Lower phases.{phase_name}.learning_rate."
        self._at = at
        self._unread: list[Tensor] = []
        self._first = 0
        self.last: float | None = None
        """The last one that was read."""

    def note(self, loss: Tensor, number: int) -> None:
        """Take the loss of a step, and read when it is time.

        Args:
            loss: A scalar, wherever it is.
            number: Number of the step, counted from the start of the phase.

        Raises:
            TrainingDivergedError: If it was time, and a loss is not finite.
        """
        if not self._unread:
            self._first = number
        self._unread.append(loss)
        if loss.device.type == "cpu" or len(self._unread) == STEPS_UNREAD:
            self.read()

    def read(self) -> None:
        """Read all losses that wait, in one message.

        Raises:
            TrainingDivergedError: If one is not finite.
        """
        if not self._unread:
            return
        values = torch.stack(self._unread).tolist()
        self._unread.clear()
        for number, loss in enumerate(values, self._first):
            if not math.isfinite(loss):
                raise TrainingDivergedError(
                    f"the loss must be finite, got {loss} in step {number} of phase "
                    f"{self._phase_name}. {self._remedy} The last checkpoint is kept."
                )
            self._at.loss_sum += loss
        self.last = values[-1]
