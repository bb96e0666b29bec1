"""How subnets are taught: one file a recipe, called as in ``phases.PHASE.teacher``.

Each file has a function ``build()`` that returns a `Teaching`.
"""

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

from ofa_pipeline.errors import ParamsError, suggest
from ofa_pipeline.parts import part_names
from ofa_pipeline.training.distillation import build_distillation
from ofa_pipeline.training.losses import SoftLabels
from ofa_pipeline.training.teaching import Teaching

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["build_teaching", "recipe_names"]


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes."""
    return part_names("training/recipes")


def build_teaching(name: str, *, loss: str = "ce_kd") -> Teaching:
    """Return a recipe by its name in params.yaml.

    Args:
        name: Who teaches: a file of this folder.
        loss: What is learned from the teacher: a file of `ofa_pipeline.training.distillation`.

    Raises:
        ParamsError: If there is no such recipe or loss, or the recipe brings a loss of its own and
            another one is asked for.
    """
    if name not in recipe_names():
        raise ParamsError(f"unknown recipe {name!r}.{suggest(name, recipe_names())}")
    build: Callable[[], Teaching] = importlib.import_module(f"{__name__}.{name}").build
    teaching = build()
    if isinstance(teaching, SoftLabels):
        return replace(teaching, distillation=build_distillation(loss))
    if loss != "ce_kd":
        raise ParamsError(
            f"loss must be left out with teacher: {name}, which brings a loss of its own, got "
            f"{loss!r}"
        )
    return teaching
