"""Loss ``ce_kd``: the labels, and the teacher's soft labels besides.

Source:
    Hinton et al. 2015 (arXiv:1503.02531), section 2, at temperature 1 as the reference does.
"""

from ofa_pipeline.training.losses import SoftCrossEntropy
from ofa_pipeline.training.teaching import Distillation


def build() -> Distillation:
    """Return the loss."""
    return SoftCrossEntropy(uses_labels=True)
