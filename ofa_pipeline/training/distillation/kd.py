"""Loss ``kd``: the teacher's soft labels alone.

Source:
    BigNAS, Yu et al. 2020 (arXiv:2003.11142), section 3.1.
"""

from ofa_pipeline.training.losses import SoftCrossEntropy
from ofa_pipeline.training.teaching import Distillation


def build() -> Distillation:
    """Return the loss."""
    return SoftCrossEntropy(uses_labels=False)
