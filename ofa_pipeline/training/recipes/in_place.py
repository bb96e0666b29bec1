"""Recipe ``in_place``: the first subnet of a step, the largest, teaches the others.

It learns from the labels alone, they from its soft labels as well.

Source:
    BigNAS, Yu et al. 2020 (arXiv:2003.11142), section 3.1.
"""

from ofa_pipeline.training.losses import SoftLabels
from ofa_pipeline.training.teaching import Teaching


def build() -> Teaching:
    """Return the recipe."""
    return SoftLabels(is_in_place=True)
