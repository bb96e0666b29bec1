"""What subnets learn from a teacher: one file a loss, called as in ``phases.PHASE.loss``.

Each file has a function ``build()`` that returns a `Distillation`.
"""

import importlib
from typing import TYPE_CHECKING

from ofa_pipeline.errors import ParamsError, suggest
from ofa_pipeline.parts import part_names
from ofa_pipeline.training.teaching import Distillation

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["build_distillation", "distillation_names"]


def distillation_names() -> tuple[str, ...]:
    """Return the names of all losses."""
    return part_names("training/distillation")


def build_distillation(name: str) -> Distillation:
    """Return a loss by its name in params.yaml.

    Raises:
        ParamsError: If there is no such loss.
    """
    known = distillation_names()
    if name not in known:
        raise ParamsError(
            f"unknown loss {name!r}, must be one of {', '.join(known)}.{suggest(name, known)}"
        )
    build: Callable[[], Distillation] = importlib.import_module(f"{__name__}.{name}").build
    return build()
