"""What a step minimizes.

Legend: N batch, K classes.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ofa_pipeline.training.teaching import Distillation


def soft_cross_entropy(logits: Tensor, target_logits: Tensor) -> Tensor:
    """Return the cross-entropy against a teacher's softmax, averaged over the batch.

    Args:
        logits: Logits of the student, shape (N, K).
        target_logits: Logits of the teacher, shape (N, K); no gradient flows into them.

    Source:
        Hinton et al. 2015 (arXiv:1503.02531), section 2, at temperature 1 as the reference does.
    """
    return F.cross_entropy(logits, target_logits.detach().softmax(dim=1))


def training_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    label_smoothing: float,
    teacher_logits: Tensor | None = None,
    distillation_weight: float = 0.0,
) -> Tensor:
    """Return smoothed cross-entropy, plus the weighted distillation loss if there is a teacher.

    Args:
        logits: Shape (N, K).
        labels: Class indices, shape (N,).
        label_smoothing: Share of the target spread over all classes.
        teacher_logits: Shape (N, K); None without a teacher.
        distillation_weight: Factor of the distillation loss.
    """
    loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    if teacher_logits is None or distillation_weight == 0:
        return loss
    return loss + distillation_weight * soft_cross_entropy(logits, teacher_logits)


@dataclass(frozen=True, slots=True)
class SoftCrossEntropy:
    """`soft_cross_entropy`, with the labels besides or without."""

    uses_labels: bool
    """See `Distillation.uses_labels`."""

    def __call__(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return the loss."""
        return soft_cross_entropy(logits, teacher_logits)


@dataclass(frozen=True, slots=True)
class SoftLabels:
    """Learns from the labels, and from a teacher where there is one, or from it alone."""

    is_in_place: bool
    """See `Teaching.is_in_place`."""
    distillation: Distillation = SoftCrossEntropy(uses_labels=True)
    """What is learned from a teacher."""

    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        label_smoothing: float,
        teacher_logits: Tensor | None,
        distillation_weight: float,
    ) -> Tensor:
        """Return cross-entropy, what is learned from the teacher with its weight, or both."""
        learns_labels = teacher_logits is None or self.distillation.uses_labels
        loss = logits.new_zeros(())
        if learns_labels:
            loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        if teacher_logits is None or distillation_weight == 0:
            return loss
        taught = distillation_weight * self.distillation(logits, teacher_logits)
        return loss + taught if learns_labels else taught
