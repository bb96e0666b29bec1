"""Training: one loop, phases as data, distillation, schedules, checkpoints."""

from ofa_pipeline.training.checkpoint import Checkpoints, EpochRecord, history_columns
from ofa_pipeline.training.deterministic import deterministic
from ofa_pipeline.training.finetune import finetune
from ofa_pipeline.training.graphs import launches_kernels
from ofa_pipeline.training.loop import Hooks, train_phase
from ofa_pipeline.training.losses import soft_cross_entropy, training_loss
from ofa_pipeline.training.phases import ArchSource, Fixed, Phase, Sampled, derive_seed
from ofa_pipeline.training.recipe import Recipe
from ofa_pipeline.training.recipes import build_teaching
from ofa_pipeline.training.regularization import LargestOnly
from ofa_pipeline.training.schedule import Schedule, epochs_for
from ofa_pipeline.training.settings import (
    learns_from_previous,
    phase_of,
    recipe_of,
    trained_so_far,
)
from ofa_pipeline.training.step import Teacher, TrainingImages
from ofa_pipeline.training.teaching import Teaching

__all__ = [
    "ArchSource",
    "Checkpoints",
    "EpochRecord",
    "Fixed",
    "Hooks",
    "LargestOnly",
    "Phase",
    "Recipe",
    "Sampled",
    "Schedule",
    "Teacher",
    "Teaching",
    "TrainingImages",
    "build_teaching",
    "derive_seed",
    "deterministic",
    "epochs_for",
    "finetune",
    "history_columns",
    "launches_kernels",
    "learns_from_previous",
    "phase_of",
    "recipe_of",
    "soft_cross_entropy",
    "train_phase",
    "trained_so_far",
    "training_loss",
]
