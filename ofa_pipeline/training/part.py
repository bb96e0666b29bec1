"""What one subnet learns from one group of images.

Legend: N images, K classes, r resolution in pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ofa_pipeline.arch import Arch
from ofa_pipeline.compute import BatchPart
from ofa_pipeline.supernet import dropout_generator
from ofa_pipeline.training.precision import autocast
from ofa_pipeline.training.recipe import Recipe
from ofa_pipeline.training.regularization import Regularization
from ofa_pipeline.training.teaching import Teaching


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Images of a batch that are computed in one pass."""

    images: Tensor
    """Shape (N, 3, r, r)."""
    labels: Tensor
    """Shape (N,)."""
    teacher_logits: Tensor | None
    """Shape (N, K)."""
    share: float
    """Share of the images of the batch."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One subnet, and what it shall learn from."""

    arch: Arch
    group: Group
    given: Regularization
    weight: float
    """What the loss counts in its step."""
    seed: int
    """Of dropout."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one subnet has learned from one group."""

    loss: Tensor
    gradients: Sequence[Tensor | None] | None
    """One a parameter; None where they have been added to their totals already."""
    logits: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """How subnets learn in a phase."""

    teaching: Teaching
    recipe: Recipe
    rows: BatchPart | None
    """Which rows of the batch a group is, for dropout; None: the group has draws of its own."""

    def learn(
        self,
        forward: Callable[[Tensor], Tensor],
        parameters: Sequence[nn.Parameter],
        group: Group,
        given: Regularization,
        *,
        weight: float | Tensor,
        generator: torch.Generator,
    ) -> Part:
        """Return the weighted loss of a subnet on a group, and its gradient.

        Args:
            forward: The subnet.
            parameters: What the gradient is of.
            group: The images, and what is known of them.
            given: What the subnet is trained with.
            weight: What the loss counts in its step.
            generator: Draws dropout; on the device.
        """
        device, dtype = group.images.device, group.images.dtype
        draws = dropout_generator(
            generator, part=self.rows, dropout=given.dropout, drop_connect=given.drop_connect
        )
        with autocast(device), draws:
            logits = forward(group.images).to(dtype)
            loss = weight * self.teaching.loss(
                logits,
                group.labels,
                label_smoothing=given.label_smoothing,
                teacher_logits=group.teacher_logits,
                distillation_weight=self.recipe.distillation_weight,
            )
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        return Part(loss.detach(), gradients, logits.detach())
