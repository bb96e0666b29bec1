"""Recipe ``previous``: labels, and the soft labels of the largest subnet of the phase before."""

from ofa_pipeline.training.losses import SoftLabels
from ofa_pipeline.training.teaching import Teaching


def build() -> Teaching:
    """Return the recipe."""
    return SoftLabels(is_in_place=False)
