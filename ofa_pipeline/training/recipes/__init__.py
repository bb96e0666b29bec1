"""How subnets are taught: one file a recipe, called as in ``phases.PHASE.teacher``.

Each file has a function ``build()`` that returns a `Teaching`.
"""

import importlib
from typing import TYPE_CHECKING

from ofa_pipeline.errors import ParamsError, suggest
from ofa_pipeline.parts import part_names
from ofa_pipeline.training.teaching import Teaching

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["build_teaching", "recipe_names"]


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes."""
    return part_names("training/recipes")


def build_teaching(name: str) -> Teaching:
    """Return a recipe by its name in params.yaml.

    Raises:
        ParamsError: If there is no such recipe.
    """
    if name not in recipe_names():
        raise ParamsError(f"unknown recipe {name!r}.{suggest(name, recipe_names())}")
    build: Callable[[], Teaching] = importlib.import_module(f"{__name__}.{name}").build
    return build()
