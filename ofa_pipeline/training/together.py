"""One training by several processes: each computes some groups of every batch, all step as one.

Groups are those that share batch-norm statistics (`Recipe.batch_norm_images`), and every draw is a
function of the place in the whole batch. So the number of processes changes nothing but the order
in which a gradient's terms are added.
"""

import signal

import torch
from torch import Tensor, nn

from ofa_pipeline.compute import ALONE, BatchPart, Ranks
from ofa_pipeline.errors import ParamsError
from ofa_pipeline.training.checkpoint import Checkpoints, Position
from ofa_pipeline.training.interrupt import StopRequest
from ofa_pipeline.training.recipe import Recipe

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Together:
    """This process's part of each batch, and what all of them say to each other in a step.

    Gradients, the loss, who was asked to stop and whether to save are one message a step. So all
    processes stop and save after the same step, whoever got the signal and whatever their clocks
    say; saving is up to the first.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        *,
        ranks: Ranks = ALONE,
        checkpoints: Checkpoints | None = None,
        stop: StopRequest | None = None,
    ) -> None:
        """Take whole groups of each batch.

        Args:
            network: What is trained.
            recipe: The size of batches and groups.
            ranks: This process among the others.
            checkpoints: When one is due; None: never.
            stop: Whether this process was asked to stop.

        Raises:
            ParamsError: If a batch has fewer groups than there are processes.
        """
        if ranks.size > recipe.num_groups:
            raise ParamsError(
                f"each batch must have a group of images for each rank, but training.batch_size "
                f"{recipe.batch_size} with training.batch_norm_images "
                f"{recipe.batch_norm_images or 'of the whole batch'} makes {recipe.num_groups} and "
                f"there are {ranks.size} ranks. Raise batch_size, lower batch_norm_images, or "
                "start fewer ranks in compute.training.launch."
            )
        self._parameters = list(network.parameters())
        self._ranks = ranks
        self._checkpoints = checkpoints or Checkpoints(None)
        self._stop = stop or StopRequest()
        self._is_save_agreed = self._is_stop_agreed = False
        self.groups = range(recipe.num_groups)[ranks.part(recipe.num_groups)]
        """Numbers of the groups of a batch that this process computes."""
        size = recipe.group_size
        stop_row = min(self.groups.stop * size, recipe.batch_size)
        self.rows = slice(self.groups.start * size, stop_row)
        """Images of a batch that this process needs."""
        self.part = None if ranks.size == 1 else BatchPart(self.rows.start, recipe.batch_size)
        """The same, for whoever draws for a whole batch; None for the process that has it all."""

    def add_up(self, loss: Tensor) -> None:
        """Replace the gradients and the loss by their sums over all processes, in one message."""
        if self._ranks.size == 1:
            return
        gradients = [gradient_of(parameter) for parameter in self._parameters]
        asked = [float(self._stop.number == number) for number in _SIGNALS]
        is_due = float(self._ranks.is_first and self._checkpoints.is_due)
        tail = torch.tensor([*asked, is_due], dtype=loss.dtype)
        sums = torch.cat([*(g.flatten() for g in gradients), loss[None], tail.to(loss.device)])
        self._ranks.add_up(sums)
        sizes = [gradient.numel() for gradient in gradients]
        *parts, total, tail = torch.split(sums, [*sizes, 1, len(tail)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        loss.copy_(total[0])
        *counts, due = tail.tolist()
        for number, count in zip(_SIGNALS, counts, strict=True):
            if count:
                self._stop.make(number)
        self._is_stop_agreed = any(counts)
        self._is_save_agreed = bool(due) or self._is_stop_agreed

    @property
    def is_save_wanted(self) -> bool:
        """Whether all processes save, and then end if one was asked to."""
        if self._ranks.size == 1:
            return self._checkpoints.is_due or self._stop.is_made
        return self._is_save_agreed

    def obey(self) -> None:
        """End if that was asked for and all processes know, as `StopRequest.obey` does.

        Raises:
            KeyboardInterrupt: After Ctrl-C.
            SystemExit: After SIGTERM.
        """
        if self._ranks.size == 1 or self._is_stop_agreed:
            self._stop.obey()

    def begin(self, at: Position, network: nn.Module, optimizer: torch.optim.Optimizer) -> Position:
        """Return where the first process begins, and take its weights and momentum."""
        at = self._ranks.value_of_first(at)
        has_momentum = self._ranks.value_of_first(bool(optimizer.state))
        self.equal(network)
        if has_momentum:
            for parameter in network.parameters():
                state = optimizer.state[parameter]
                state.setdefault("momentum_buffer", torch.zeros_like(parameter))
                self._ranks.take_from_first(state["momentum_buffer"])
        return at

    def equal(self, network: nn.Module) -> None:
        """Take the weights of the first process, should another kind of device round otherwise."""
        for tensor in network.state_dict().values():
            self._ranks.take_from_first(tensor)


def gradient_of(parameter: nn.Parameter) -> Tensor:
    """Return the gradient that is summed up for a parameter: zeros where there is none yet."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
