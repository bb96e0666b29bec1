"""Weights that a supernet starts from: read, compared with its space, and made to fit."""

from ofa_pipeline.initial_weights.fitting import InitialSupernet, check_fit, fit_to_space
from ofa_pipeline.initial_weights.reading import FoundWeights, is_at_hand, read_weights

__all__ = [
    "FoundWeights",
    "InitialSupernet",
    "check_fit",
    "fit_to_space",
    "is_at_hand",
    "read_weights",
]
