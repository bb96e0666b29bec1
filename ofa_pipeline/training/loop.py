"""The training loop: every phase, every recipe, and fine-tuning go through `train_phase`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ofa_pipeline.arch import Arch
from ofa_pipeline.data import Augmentation, Batch, Split, augment
from ofa_pipeline.errors import NotEnoughBatchesError, TrainingDivergedError
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.training.checkpoint import Checkpoints, EpochRecord
from ofa_pipeline.training.interrupt import deferred_stop
from ofa_pipeline.training.losses import training_loss
from ofa_pipeline.training.optimizer import build_optimizer, set_learning_rate
from ofa_pipeline.training.phases import Phase, derive_seed

Teacher = Callable[[Tensor], Tensor]
"""Logits of a batch of images, at whatever resolution they have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingImages:
    """What is trained on, and how its pixels are normalized."""

    split: Split
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What all phases share."""

    batch_size: int
    momentum: float
    weight_decay: float
    label_smoothing: float
    distillation_weight: float
    augmentation: Augmentation
    seed: int


def _nothing() -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What surrounds the loop: validation, checkpoints, progress."""

    validate: Callable[[], Mapping[str, float]] = _nothing
    """Called after each epoch; the figures go into the history. It draws no random numbers."""
    checkpoints: Checkpoints = field(default_factory=lambda: Checkpoints(None))
    reporter: Reporter = SILENT


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
        TrainingDivergedError: If the loss is not finite; the last checkpoint stays.
        KeyboardInterrupt: After Ctrl-C, with a checkpoint saved.
        SystemExit: After SIGTERM, with a checkpoint saved.
    """
    hooks = hooks or Hooks()
    steps = _steps_per_epoch(images.split, recipe.batch_size)
    network.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(network, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    step = TrainingStep(network, phase, images=images, recipe=recipe, teacher=teacher)
    at = hooks.checkpoints.restore(network, optimizer)
    total = phase.schedule.total_epochs
    progress = hooks.reporter.track(
        phase.name, total=total * steps * recipe.batch_size, unit="images"
    )
    progress.skip((at.epoch * steps + at.batch) * recipe.batch_size)
    with deferred_stop() as stop:
        while at.epoch < total:
            batches = images.split.shuffled_batches(
                recipe.batch_size,
                seed=derive_seed(recipe.seed, phase.name, "order"),
                epoch=at.epoch,
                start_batch=at.batch,
            )
            for batch in batches:
                number = at.epoch * steps + at.batch
                set_learning_rate(optimizer, phase.schedule.at(number, steps_per_epoch=steps))
                loss = step.accumulate_gradients(batch, number)
                optimizer.step()
                optimizer.zero_grad(set_to_none=False)
                at.loss_sum += loss
                at.batch += 1
                progress.advance(recipe.batch_size, epoch=at.epoch + 1, loss=loss)
                if hooks.checkpoints.is_due or stop.is_made:
                    hooks.checkpoints.save(network, optimizer, at)
                    stop.obey()
            last_step = (at.epoch + 1) * steps - 1
            at.finish_epoch(
                EpochRecord(
                    phase=phase.name,
                    epoch=at.epoch + 1,
                    learning_rate=phase.schedule.at(last_step, steps_per_epoch=steps),
                    loss=at.loss_sum / steps,
                    metrics=dict(hooks.validate()),
                )
            )
            hooks.checkpoints.save(network, optimizer, at)
            stop.obey()
    return at.history


def _steps_per_epoch(split: Split, batch_size: int) -> int:
    if split.num_images < batch_size:
        raise NotEnoughBatchesError(
            f"training needs at least one batch of {batch_size} images, found "
            f"{split.num_images}. Lower training.batch_size or bring more images."
        )
    return split.num_images // batch_size


class TrainingStep:
    """The gradient of one batch, as a pure function of the weights and the step number."""

    def __init__(
        self,
        network: nn.Module,
        phase: Phase,
        *,
        images: TrainingImages,
        recipe: Recipe,
        teacher: Teacher | None,
    ) -> None:
        """Hold what does not change from step to step."""
        self._network = network
        self._phase = phase
        self._images = images
        self._recipe = recipe
        self._teacher = teacher
        self._device = next(network.parameters()).device

    def accumulate_gradients(self, batch: Batch, number: int) -> float:
        """Add the mean gradient of the step's subnets to ``parameter.grad``.

        Args:
            batch: Images and labels.
            number: Of the step, counted from the start of the phase.

        Returns:
            The loss, averaged over the subnets.

        Raises:
            TrainingDivergedError: If it is not finite.
        """
        rng = np.random.default_rng(self._seed(number, "archs"))
        archs = self._phase.archs.draw(rng)
        images = self._inputs(batch.images, archs[0].resolution_px, number)
        labels = batch.labels.to(self._device)
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(self._seed(number, "dropout"))
            loss = self._backward(images, labels, archs)
        if not np.isfinite(loss):
            raise TrainingDivergedError(
                f"the loss must be finite, got {loss} in step {number} of phase "
                f"{self._phase.name}. Lower phases.{self._phase.name}.learning_rate or lengthen "
                "its warm-up. The last checkpoint is kept."
            )
        return loss

    def _seed(self, number: int, purpose: str) -> int:
        return derive_seed(self._recipe.seed, self._phase.name, number, purpose)

    def _inputs(self, images: Tensor, resolution_px: int, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(self._seed(number, "augmentation"))
        return augment(
            images.to(self._device),
            kind=self._recipe.augmentation,
            resolution_px=resolution_px,
            mean=self._images.mean,
            std=self._images.std,
            generator=generator,
        ).contiguous(memory_format=torch.channels_last)

    def _backward(self, images: Tensor, labels: Tensor, archs: Sequence[Arch]) -> float:
        total = torch.zeros((), device=self._device)
        self._network.train()
        with autocast(self._device):
            soft_labels = None
            if self._teacher is not None:
                with torch.no_grad():
                    soft_labels = self._teacher(images).float()
            for arch in archs:
                loss = training_loss(
                    self._network(images, arch).float(),
                    labels,
                    label_smoothing=self._recipe.label_smoothing,
                    teacher_logits=soft_labels,
                    distillation_weight=self._recipe.distillation_weight,
                ) / len(archs)
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
        return float(total)


def autocast(device: torch.device) -> torch.autocast:
    """Return mixed precision for CUDA devices with bfloat16, which needs no loss scaling."""
    enabled = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
