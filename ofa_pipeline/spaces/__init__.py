"""The search spaces, one file a family."""

from collections.abc import Callable

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.errors import ArchError, suggest
from ofa_pipeline.spaces.mobilenet_v3 import mobilenet_v3, mobilenet_v3_small_images
from ofa_pipeline.spaces.proxyless import proxyless
from ofa_pipeline.spaces.resnet50 import resnet50

REFERENCE_SPACES: dict[str, Callable[[], SearchSpace]] = {
    "ofa_mbv3_d234_e346_k357_w1.0": lambda: mobilenet_v3(width_multiplier=1.0),
    "ofa_mbv3_d234_e346_k357_w1.2": lambda: mobilenet_v3(width_multiplier=1.2),
    "ofa_proxyless_d234_e346_k357_w1.3": lambda: proxyless(width_multiplier=1.3),
    "ofa_resnet50": resnet50,
}
"""The spaces of the reference's published supernets, by its names."""


def reference_space(space_id: str) -> SearchSpace:
    """Return the space of one of the reference's supernets.

    Raises:
        ArchError: If the name is unknown.
    """
    if space_id not in REFERENCE_SPACES:
        raise ArchError(
            f"unknown reference supernet {space_id!r}.{suggest(space_id, REFERENCE_SPACES)}"
        )
    return REFERENCE_SPACES[space_id]()


__all__ = [
    "REFERENCE_SPACES",
    "mobilenet_v3",
    "mobilenet_v3_small_images",
    "proxyless",
    "reference_space",
    "resnet50",
]
