"""Which recipe a checkpoint is of: all that its weights depend on besides the images."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.data import Split, augmentation_version
from ofa_pipeline.training.phases import Phase
from ofa_pipeline.training.recipe import Recipe

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_NOT_ITS_OWN = frozenset({"workers"})
"""Fields that the weights do not depend on."""


def recipe_facts(phase: Phase, recipe: Recipe, *, split: Split) -> dict[str, str]:
    """Return what a training is made of, by name: ``schedule.learning_rate`` to ``0.4``.

    Args:
        phase: What is drawn in each step, and the learning rates.
        recipe: What all phases share.
        split: The images: of some, views are drawn in another way than they once were.
    """
    found = {**_facts(phase, ""), **_facts(recipe, "")}
    version = augmentation_version(split, recipe.augmentation)
    if version is not None:
        found["augmentation.version"] = version
    return dict(sorted(found.items()))


def differences(saved: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Return what differs between two recipes, in words."""
    names = sorted(saved.keys() | wanted.keys())
    return [
        f"{name} is {saved.get(name, 'not set')} there and {wanted.get(name, 'not set')} here"
        for name in names
        if saved.get(name) != wanted.get(name)
    ]


def _facts(value: "DataclassInstance", prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in fields(value):
        if field.name in _NOT_ITS_OWN:
            continue
        name, item = f"{prefix}{field.name}", getattr(value, field.name)
        match item:
            case SearchSpace():
                found[name] = item.digest
            case Arch():
                found[name] = item.arch_id
            case _ if is_dataclass(item) and not isinstance(item, type):
                found[name] = type(item).__name__
                found |= _facts(item, f"{name}.")
            case None | bool() | int() | float() | str() | tuple():
                found[name] = str(item)
            case _:
                found[name] = type(item).__name__
    return found
