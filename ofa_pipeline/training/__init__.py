"""Training: one loop, phases as data, distillation, schedules, checkpoints."""

from ofa_pipeline.training.checkpoint import Checkpoints, EpochRecord
from ofa_pipeline.training.deterministic import deterministic
from ofa_pipeline.training.finetune import finetune
from ofa_pipeline.training.loop import Hooks, train_phase
from ofa_pipeline.training.losses import soft_cross_entropy, training_loss
from ofa_pipeline.training.phases import ArchSource, Fixed, Phase, Sampled, derive_seed
from ofa_pipeline.training.schedule import Schedule, epochs_for
from ofa_pipeline.training.step import Recipe, Teacher, TrainingImages

__all__ = [
    "ArchSource",
    "Checkpoints",
    "EpochRecord",
    "Fixed",
    "Hooks",
    "Phase",
    "Recipe",
    "Sampled",
    "Schedule",
    "Teacher",
    "TrainingImages",
    "derive_seed",
    "deterministic",
    "epochs_for",
    "finetune",
    "soft_cross_entropy",
    "train_phase",
    "training_loss",
]
