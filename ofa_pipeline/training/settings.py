"""Recipes and phases from their sections of params.yaml."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.errors import ParamsError
from ofa_pipeline.training.phases import Phase, Sampled
from ofa_pipeline.training.recipe import Recipe
from ofa_pipeline.training.recipes import build_teaching
from ofa_pipeline.training.regularization import LargestOnly
from ofa_pipeline.training.schedule import Schedule, epochs_for

if TYPE_CHECKING:
    from ofa_pipeline.params import PhaseParams, TrainingParams


def recipe_of(training: "TrainingParams") -> Recipe:
    """Return what all phases share."""
    return Recipe(
        batch_size=training.batch_size,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        label_smoothing=training.label_smoothing,
        distillation_weight=training.distillation_weight,
        augmentation=training.augmentation,
        seed=training.seed,
        batch_norm_images=training.batch_norm_images,
    )


def phase_of(
    name: str, params: "PhaseParams", space: SearchSpace, *, steps_per_epoch: int
) -> Phase:
    """Return a phase.

    Args:
        name: Name of the phase.
        params: Its entry in params.yaml.
        space: Space of the supernet; the phase trains a part of it.
        steps_per_epoch: Updates that a pass over the images makes.

    Raises:
        ParamsError: If the first subnet of a step shall teach the others and is not the largest.
    """
    teaching = build_teaching(params.teacher, loss=params.loss)
    if teaching.is_in_place and params.sampling != "sandwich":
        raise ParamsError(
            f"phases.{name}.sampling must be sandwich for teacher: {params.teacher}, where the "
            f"largest subnet of each step teaches the others, got {params.sampling}"
        )
    elastic = params.part_of(space)
    epochs = epochs_for(params.epochs, min_steps=params.min_steps, steps_per_epoch=steps_per_epoch)
    return Phase(
        name=name,
        archs=Sampled(
            space=elastic,
            per_step=params.subnets_per_step,
            sampling=params.sampling,
            resolution=params.resolution,
        ),
        schedule=Schedule(
            epochs=epochs,
            warmup_epochs=params.warmup_epochs,
            learning_rate=params.learning_rate,
            cosine=params.cosine,
        ),
        first_share=params.largest_share,
        teaching=teaching,
        largest_only=_largest_only(params),
        clip_value=params.clip_value,
        ramp_steps=params.ramp_epochs * steps_per_epoch,
    )


def learns_from_previous(params: "PhaseParams") -> bool:
    """Return whether the largest subnet of the phase before teaches this one."""
    if params.previous is None or params.teacher == "none":
        return False
    return not build_teaching(params.teacher).is_in_place


def _largest_only(params: "PhaseParams") -> LargestOnly | None:
    given = params.largest_only
    if given is None:
        return None
    return LargestOnly(
        dropout=given.dropout,
        drop_connect=given.drop_connect or 0.0,
        label_smoothing=given.label_smoothing,
    )


def trained_so_far(phase: Phase, previous: Mapping[str, Any] | None) -> dict[str, float]:
    """Return what fine-tuning goes by: epochs of all phases so far, and the rate of the first.

    Args:
        phase: The phase that was trained last.
        previous: Summary of the phase before it; None for the first.
    """
    so_far = {"total_epochs": 0, "first_learning_rate": phase.schedule.learning_rate}
    if previous is not None:
        so_far = {key: previous[key] for key in so_far}
    return so_far | {"total_epochs": so_far["total_epochs"] + phase.schedule.total_epochs}
