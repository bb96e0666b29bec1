"""Loss ``alpha``: the adaptive alpha-divergence from the teacher alone.

KL divergence from teacher to student lets a student spread its probability where the teacher has
none; the divergence of alpha = -1 punishes just that, and forgives classes that the student misses.
Of each image the larger of both counts.

Source:
    AlphaNet, Wang et al. 2021 (arXiv:2102.07954), equations 5 to 8.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ofa_pipeline.training.teaching import Distillation

MAX_RATIO = 5.0
"""Importance ratios q / p are clipped here: one image must not decide the step."""


def build() -> Distillation:
    """Return the loss."""
    return AdaptiveAlphaDivergence(max_ratio=MAX_RATIO)


def alpha_divergences(
    logits: Tensor, teacher_logits: Tensor, *, max_ratio: float
) -> tuple[Tensor, Tensor]:
    """Return the divergences of alpha = 1 and alpha = -1 of each image, shape (N,) each.

    With p the teacher's and q the student's softmax: the sum of p log(p / q), and half the sum of
    q (min(q / p, max_ratio) - 1). Their gradients are those of the divergences with the clipped
    ratios as constants: of minus the sum of p log q, and of the sum of [q min(q / p, max_ratio)]
    log q with the bracket constant.

    Args:
        logits: Logits of the student, shape (N, K).
        teacher_logits: Logits of the teacher, shape (N, K); no gradient flows into them.
        max_ratio: Where q / p is clipped.
    """
    log_p = teacher_logits.detach().log_softmax(dim=1)
    log_q = logits.log_softmax(dim=1)
    with torch.no_grad():
        p, q = log_p.exp(), log_q.exp()
        weights = q * (log_q - log_p).exp().clamp(max=max_ratio)
        forward = (p * (log_p - log_q)).sum(dim=1)
        reverse = (weights - q).sum(dim=1) / 2
    return _with_gradient(forward, -(p * log_q)), _with_gradient(reverse, weights * log_q)


def _with_gradient(value: Tensor, terms: Tensor) -> Tensor:
    """Return a value that has the gradient of a sum over the classes."""
    total = terms.sum(dim=1)
    return value + total - total.detach()


@dataclass(frozen=True, slots=True)
class AdaptiveAlphaDivergence:
    """The larger divergence of each image, averaged over the images."""

    max_ratio: float

    @property
    def uses_labels(self) -> bool:
        """No: the teacher alone."""
        return False

    def __call__(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return the loss."""
        return torch.maximum(
            *alpha_divergences(logits, teacher_logits, max_ratio=self.max_ratio)
        ).mean()
