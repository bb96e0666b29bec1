"""What a recipe decides: who teaches the subnets of a step, and what they minimize."""

from typing import Protocol

from torch import Tensor


class Distillation(Protocol):
    """What a subnet learns from a teacher; a value that several threads use at the same time."""

    @property
    def uses_labels(self) -> bool:
        """Whether it learns from the labels besides."""
        ...

    def __call__(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return what it minimizes, averaged over the images.

        Args:
            logits: Of the subnet, shape (N, K) for N images and K classes.
            teacher_logits: Shape (N, K); no gradient flows into them.
        """
        ...


class Teaching(Protocol):
    """How the subnets of a step learn; a value that several threads use at the same time."""

    @property
    def is_in_place(self) -> bool:
        """Whether the first subnet of a step goes ahead and its logits teach the others.

        Otherwise the teacher of the phase does, where it has one.
        """
        ...

    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        label_smoothing: float,
        teacher_logits: Tensor | None,
        distillation_weight: float,
    ) -> Tensor:
        """Return what a subnet minimizes, averaged over the images.

        Args:
            logits: Shape (N, K) for N images and K classes.
            labels: Class indices, shape (N,).
            label_smoothing: Share of the target spread over all classes.
            teacher_logits: Shape (N, K), without a gradient; None for a subnet without a teacher.
            distillation_weight: Factor of what is learned from the teacher.
        """
        ...
