"""Recipe ``none``: every subnet learns from the labels alone."""

from ofa_pipeline.training.losses import SoftLabels
from ofa_pipeline.training.teaching import Teaching


def build() -> Teaching:
    """Return the recipe."""
    return SoftLabels(is_in_place=False)
