"""Who proposes the subnets to verify: one file a sampler, called as in ``search.sampler``.

Each file has a function ``build()`` that returns a `Sampler`.
"""

import importlib
from typing import TYPE_CHECKING

from ofa_pipeline.errors import ParamsError, suggest
from ofa_pipeline.parts import part_names
from ofa_pipeline.search.sampling import Sampler

__all__ = ["build_sampler", "sampler_names"]

OPEN_MODULES = ("ours",)
"""The sampler of who names none."""

if TYPE_CHECKING:
    from collections.abc import Callable


def sampler_names() -> tuple[str, ...]:
    """Return the names of all samplers."""
    return part_names("search/samplers")


def build_sampler(name: str) -> Sampler:
    """Return a sampler by its name in params.yaml.

    Raises:
        ParamsError: If there is no such sampler.
    """
    if name not in sampler_names():
        raise ParamsError(f"unknown sampler {name!r}.{suggest(name, sampler_names())}")
    build: Callable[[], Sampler] = importlib.import_module(f"{__name__}.{name}").build
    return build()
