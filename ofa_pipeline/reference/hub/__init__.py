"""The reference's torch.hub interface over our networks."""

from ofa_pipeline.reference.hub.entry_points import (
    ofa_specialized,
    ofa_specialized_get,
    ofa_supernet,
)
from ofa_pipeline.reference.hub.networks import OfaSubnet, OfaSupernet

__all__ = [
    "OfaSubnet",
    "OfaSupernet",
    "ofa_specialized",
    "ofa_specialized_get",
    "ofa_supernet",
]
