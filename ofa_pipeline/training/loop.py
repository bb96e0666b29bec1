"""The training loop: every phase, every recipe, and fine-tuning go through `train_phase`."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from ofa_pipeline.compute import ALONE, Ranks
from ofa_pipeline.data import Batch, Shuffled, Split, near_device
from ofa_pipeline.errors import NotEnoughBatchesError
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.stopwatch import Stopwatch
from ofa_pipeline.training.checkpoint import Checkpoints, EpochRecord, Position
from ofa_pipeline.training.divergence import Losses
from ofa_pipeline.training.epoch_text import describe_epoch
from ofa_pipeline.training.identity import recipe_facts
from ofa_pipeline.training.interrupt import deferred_stop
from ofa_pipeline.training.optimizer import build_optimizer, set_learning_rate
from ofa_pipeline.training.phases import Phase, derive_seed
from ofa_pipeline.training.recipe import Recipe
from ofa_pipeline.training.step import Teacher, TrainingImages, TrainingStep
from ofa_pipeline.training.together import Together


def _nothing() -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What surrounds the loop: validation, checkpoints, progress."""

    validate: Callable[[], Mapping[str, float]] = _nothing
    """Called after each epoch; the figures go into the history. It draws no random numbers."""
    checkpoints: Checkpoints = field(default_factory=lambda: Checkpoints(None))
    reporter: Reporter = SILENT
    title: str | None = None
    """What the reporter is told of as being trained; None: the name of the phase."""
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    """Notes the seconds beside each checkpoint; whoever makes it starts and stops it."""
    ranks: Ranks = ALONE
    """The processes that train together, each with hooks of its own; `validate` is called in all of
    them at the same time, checkpoints are those of the first."""


def train_phase(
    network: nn.Module,
    phase: Phase,
    *,
    images: TrainingImages,
    recipe: Recipe,
    teacher: Teacher | None = None,
    hooks: Hooks | None = None,
) -> list[EpochRecord]:
    """Train a network in place, from its last checkpoint if there is one.

    Args:
        network: Called as ``network(images, arch)``; a supernet.
        phase: What is drawn in each step, and the learning rates.
        images: Where the batches come from.
        recipe: What all phases share.
        teacher: Soft labels; None trains on the labels alone.
        hooks: Validation, checkpoints, progress; by default nothing.

    Returns:
        One record an epoch, those before the resume included.

    Raises:
        NotEnoughBatchesError: If there are fewer images than one batch.
        CheckpointError: If the last checkpoint is of another network or recipe.
        TrainingDivergedError: If the loss is not finite; the last checkpoint stays.
        KeyboardInterrupt: After Ctrl-C, with a checkpoint saved.
        SystemExit: After SIGTERM, with a checkpoint saved.
    """
    hooks = hooks or Hooks()
    steps = _steps_per_epoch(images.split, recipe.batch_size)
    network.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(network, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    checkpoints = hooks.checkpoints if hooks.ranks.is_first else Checkpoints(None)
    with deferred_stop() as stop:
        together = Together(network, recipe, ranks=hooks.ranks, checkpoints=checkpoints, stop=stop)
        facts = recipe_facts(phase, recipe, split=images.split)
        at = checkpoints.restore(network, optimizer, recipe=facts, reporter=hooks.reporter)
        at = together.begin(at, network, optimizer)
        if at.epoch or at.batch:
            hooks.stopwatch.expect_earlier()
        with TrainingStep(
            network, phase, images=images, recipe=recipe, teacher=teacher, together=together
        ) as step:
            loop = _Loop(
                network=network,
                optimizer=optimizer,
                step=step,
                at=at,
                losses=Losses(phase.name, at, remedy=phase.remedy),
                steps_per_epoch=steps,
                together=together,
                checkpoints=checkpoints,
                hooks=hooks,
            )
            device = next(network.parameters()).device
            split = near_device(images.split, device, augmentation=recipe.augmentation)
            loop.run(phase, split, recipe)
    return at.history


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loop:
    """The steps of a phase from a position on, with a checkpoint where one is due."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    step: TrainingStep
    at: Position
    losses: Losses
    steps_per_epoch: int
    together: Together
    checkpoints: Checkpoints
    hooks: Hooks

    def run(self, phase: Phase, split: Shuffled, recipe: Recipe) -> None:
        """Train until the last epoch has ended."""
        at, steps, total = self.at, self.steps_per_epoch, phase.schedule.total_epochs
        progress = self.hooks.reporter.track(
            self.hooks.title or phase.name, total=total * steps * recipe.batch_size, unit="images"
        )
        progress.skip((at.epoch * steps + at.batch) * recipe.batch_size)
        while at.epoch < total:
            begin, first = time.perf_counter(), at.batch
            batches = split.shuffled_batches(
                recipe.batch_size,
                seed=derive_seed(recipe.seed, phase.name, "order"),
                epoch=at.epoch,
                start_batch=at.batch,
                rows=self.together.rows,
            )
            for batch in batches:
                self._train_on(batch, phase)
                known = {} if self.losses.last is None else {"loss": self.losses.last}
                progress.advance(recipe.batch_size, epoch=at.epoch + 1, **known)
                if self.together.is_save_wanted:
                    self._save()
            self.losses.read()  # waits for the last step
            images = (steps - first) * recipe.batch_size
            rate = images / max(time.perf_counter() - begin, 1e-9)  # before the validation
            self._finish_epoch(phase)
            record, title = at.history[-1], self.hooks.title
            text = describe_epoch(record, total, images_per_s=rate, title=title)
            self.hooks.reporter.message(text)

    def _train_on(self, batch: Batch, phase: Phase) -> None:
        """Take one step."""
        at, steps = self.at, self.steps_per_epoch
        number = at.epoch * steps + at.batch
        set_learning_rate(self.optimizer, phase.schedule.at(number, steps_per_epoch=steps))
        self.losses.note(self.step.accumulate_gradients(batch, number), number)
        if phase.clip_value is not None:
            nn.utils.clip_grad_value_(self.network.parameters(), phase.clip_value)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        at.batch += 1

    def _finish_epoch(self, phase: Phase) -> None:
        """Validate, note the epoch in the history, and save."""
        at, steps = self.at, self.steps_per_epoch
        last_step = (at.epoch + 1) * steps - 1
        self.together.equal(self.network)
        at.finish_epoch(
            EpochRecord(
                phase=phase.name,
                epoch=at.epoch + 1,
                learning_rate=phase.schedule.at(last_step, steps_per_epoch=steps),
                loss=at.loss_sum / steps,
                metrics=dict(self.hooks.validate()),
            )
        )
        self._save()

    def _save(self) -> None:
        """Save a checkpoint of a training that has not diverged, then stop if that was asked."""
        self.losses.read()
        self.checkpoints.save(self.network, self.optimizer, self.at)
        self.hooks.stopwatch.note()
        self.together.obey()


def _steps_per_epoch(split: Split, batch_size: int) -> int:
    if split.num_images < batch_size:
        raise NotEnoughBatchesError(
            f"training needs at least one batch of {batch_size} images, found "
            f"{split.num_images}. Lower training.batch_size or bring more images."
        )
    return split.num_images // batch_size
