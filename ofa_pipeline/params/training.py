"""The sections `phases` and `training`: how the supernet is trained."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.errors import shown
from ofa_pipeline.params.values import (
    Count,
    Few,
    Positive,
    Section,
    Seed,
    Share,
    is_not_empty,
    is_text,
    part_of,
)
from ofa_pipeline.weights_source import SOURCE_KINDS, SourceKind, WeightsSource, parse_source

_SANDWICH = 3
WeightsText = Annotated[str, Field(max_length=4096), AfterValidator(is_text)]
Rate = Annotated[float, Field(ge=0, lt=1)]
CE_KD = "ce_kd"
START_DATASET, START_INITIAL = "dataset", "initial"
"""What the first phase may start from: new random weights, or `TrainingParams.initial_weights`."""


def _is_none(value: object) -> bool:
    return value is None


def scaled_rate(learning_rate: float, *, batch_size: int, base_batch_size: int | None) -> float:
    """Return a learning rate for the batch size that is trained with.

    Smaller batches lower it in proportion, larger ones raise it with their square root.

    Args:
        learning_rate: As a phase has it.
        batch_size: Images a step.
        base_batch_size: Images a step that the rate is meant for; None: any.

    Source:
        Goyal et al. 2017 (arXiv:1706.02677), section 2.1, in proportion; Krizhevsky 2014
        (arXiv:1404.5997), section 5, the square root. In proportion, four times the batch of the
        shipped recipe diverged (docs/recipes.md).
    """
    factor = batch_size / (base_batch_size or batch_size)
    return learning_rate * (math.sqrt(factor) if factor > 1 else factor)


class LargestOnlyParams(Section):
    """What only the largest subnet of each step is regularized with; the others have none of it."""

    dropout: Rate | None = None
    """Before the classifier, in place of `TrainingParams.dropout`; left out, all have that."""
    drop_connect: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the images that the last residual block leaves as they are; less in those before it,
    nothing before the last two block groups."""
    label_smoothing: Rate | None = None
    """In place of `TrainingParams.label_smoothing`; left out, all have that."""

    @model_validator(mode="after")
    def _says_something(self) -> "LargestOnlyParams":
        if not self.model_dump(exclude_none=True):
            raise ValueError(
                "largest_only must name dropout, drop_connect or label_smoothing, got none of "
                "them. Give one, such as {label_smoothing: 0.1}, or leave largest_only out."
            )
        return self


class PhaseParams(Section):
    """One phase of the supernet's training: what is elastic, how it learns, and for how long."""

    start_from: str
    """``supernet/PHASE``, the phase before this one; for the first ``dataset``, new random weights,
    or ``initial``, those of `TrainingParams.initial_weights`."""
    depths: Annotated[
        Annotated[tuple[int, ...], Few] | Annotated[tuple[tuple[int, ...], ...], Few],
        AfterValidator(is_not_empty),
    ]
    """One list for all block groups, or one for each."""
    kernel_sizes: Annotated[tuple[int, ...], Few, AfterValidator(is_not_empty)]
    expand_ratios: Annotated[tuple[float, ...], Few, AfterValidator(is_not_empty)]
    width_multipliers: Annotated[tuple[float, ...], Few, AfterValidator(is_not_empty)] | None = None
    """Choices of spaces with elastic width; left out, all of them."""
    space: Literal["coupled"] | None = Field(default=None, exclude_if=_is_none)
    """``coupled``: the phase trains only subnets whose expand ratios follow the depths, as
    `SpaceParams.coupled` makes it for the whole pipeline."""
    epochs: Count
    """Besides the warm-up; more where they are fewer than `min_steps`."""
    min_steps: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Updates that the epochs must amount to: few images make few steps an epoch."""
    warmup_epochs: Annotated[int, Field(ge=0, le=10**9)]
    learning_rate: Positive
    """At the top of the cosine, for the whole batch of `TrainingParams.base_batch_size` images."""
    cosine: tuple[Share, Share] = (0.0, 1.0)
    """The part of the cosine that the epochs go through, from where to where: ``[0, 1]`` from
    `learning_rate` down to zero; ``[0, 0.5]`` and, in the next phase, ``[0.5, 1]`` share one."""
    subnets_per_step: Annotated[int, Field(ge=1, le=1024)]
    """Subnets whose gradients are averaged in one update."""
    sampling: Literal["uniform", "sandwich", "largest"] = "uniform"
    """``uniform``: uniform draws, at one image size a step; ``sandwich``: the largest, the
    smallest, and uniform draws, each at its own image size; ``largest``: the largest alone."""
    largest_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """With ``sandwich``, what the gradient of the largest subnet counts in that average; the others
    share the rest. Left out, as much as each of them."""
    resolution: Literal["step", "subnet", "drawn"] | None = Field(default=None, exclude_if=_is_none)
    """Whether the subnets of a step share one image size, drawn for it, or have one each; left out,
    ``step`` with ``uniform`` and ``subnet`` with ``sandwich``. ``drawn``, of a sandwich: one each,
    and the smallest not always the smallest size, but one that is drawn."""
    teacher: Annotated[str, AfterValidator(part_of("training/recipes"))] = "previous"
    """Whose soft labels the subnets learn from, a file of `ofa_pipeline.training.recipes`: of the
    largest subnet that the phase before has left; ``in_place``, of the largest subnet in the same
    step, which alone learns from the labels; ``none``. The first phase has none before it."""
    loss: Annotated[str, AfterValidator(part_of("training/distillation"))] = Field(
        default=CE_KD, exclude_if=lambda value: value == CE_KD
    )
    """What a subnet with a teacher minimizes, a file of `ofa_pipeline.training.distillation`:
    ``ce_kd``, cross-entropy with labels and soft labels; ``kd``, with soft labels alone; ``alpha``,
    the adaptive alpha-divergence from the teacher alone."""
    largest_only: LargestOnlyParams | None = Field(default=None, exclude_if=_is_none)
    """Regularization of the largest subnet of each step that the others are spared."""
    clip_value: Positive | None = Field(default=None, exclude_if=_is_none)
    """Entries of a step's gradient, the mean over its subnets, are clipped to this magnitude."""
    zero_gamma: bool = Field(default=False, exclude_if=lambda value: not value)
    """Whether the last batch-norm scale of residual blocks starts at zero; of random weights."""
    ramp_epochs: Annotated[int, Field(ge=0, le=10**9)] = Field(
        default=0, exclude_if=lambda value: not value
    )
    """First epochs of the phase, over which the others of a sandwich come to count as much beside
    the largest as they do in the end."""

    def part_of(self, space: SearchSpace) -> SearchSpace:
        """Return the part of a space that the phase trains.

        Raises:
            ArchError: If the space has not what the phase makes elastic.
        """
        return space.restrict(
            depths=self.depths,
            kernel_sizes=self.kernel_sizes,
            expand_ratios=self.expand_ratios,
            width_multipliers=self.width_multipliers,
            is_coupled=self.space == "coupled",
        )

    @property
    def previous(self) -> str | None:
        """The phase before this one; None for the first."""
        folder, _, phase = self.start_from.partition("/")
        return phase if folder == "supernet" else None

    @property
    def starting_artifact(self) -> str | None:
        """The artifact whose weights it starts from; None for new random weights."""
        return None if self.start_from == START_DATASET else self.start_from

    @model_validator(mode="after")
    def _train_as_told(self) -> "PhaseParams":
        start, end = self.cosine
        if start >= end:
            raise ValueError(
                f"cosine must go from a smaller number to a larger one, such as [0, 0.5], got "
                f"[{start:g}, {end:g}]"
            )
        if self.warmup_epochs and start:
            raise ValueError(
                f"warmup_epochs must be 0 where the cosine starts at {start:g}: the phase goes on "
                f"from the rate of the phase before, got {self.warmup_epochs}"
            )
        if self.sampling == "sandwich" and self.subnets_per_step < _SANDWICH:
            raise ValueError(
                f"subnets_per_step must be at least {_SANDWICH} for sampling: sandwich, the "
                f"largest, the smallest and a random one, got {self.subnets_per_step}"
            )
        if self.sampling == "largest" and self.subnets_per_step != 1:
            raise ValueError(
                "subnets_per_step must be 1 for sampling: largest, which is one subnet, got "
                f"{self.subnets_per_step}"
            )
        if self.largest_share is not None and self.sampling != "sandwich":
            raise ValueError(
                f"largest_share has no effect with sampling: {self.sampling}: leave it out, or set "
                "sampling: sandwich"
            )
        if self.teacher == "in_place" and self.sampling != "sandwich":
            raise ValueError(
                "teacher: in_place needs sampling: sandwich, because the largest subnet of each "
                "step teaches the others"
            )
        return self

    @model_validator(mode="after")
    def _learn_from_someone(self) -> "PhaseParams":
        if self.loss == CE_KD:
            return self
        if self.teacher == "none":
            raise ValueError(
                f"loss: {self.loss} has no effect with teacher: none, where subnets learn from the "
                "labels: leave it out, or name a teacher"
            )
        if self.teacher == "previous" and self.previous is None:
            raise ValueError(
                f"loss: {self.loss} needs a teacher, and there is no phase before one with "
                f"start_from: {self.start_from}: set teacher: in_place with sampling: sandwich, or "
                "leave loss out"
            )
        smoothing = self.largest_only and self.largest_only.label_smoothing
        if smoothing is not None and self.teacher == "previous":
            raise ValueError(
                f"largest_only.label_smoothing has no effect with loss: {self.loss} and teacher: "
                "previous, where no subnet learns from the labels: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> "PhaseParams":
        is_sandwich, total = self.sampling == "sandwich", self.epochs + self.warmup_epochs
        if self.largest_only is not None and self.sampling == "uniform":
            raise ValueError(
                "largest_only needs the largest subnet in every step, but sampling: uniform draws "
                "any: set sampling: sandwich, or leave largest_only out"
            )
        if self.resolution is not None and self.sampling == "largest":
            raise ValueError(
                "resolution has no effect with sampling: largest, which trains at the largest "
                "image size: leave it out"
            )
        if self.resolution == "drawn" and not is_sandwich:
            raise ValueError(
                f"resolution: drawn is of a sandwich, but sampling is {self.sampling}: write "
                "subnet, or set sampling: sandwich"
            )
        if self.ramp_epochs and not is_sandwich:
            raise ValueError(
                f"ramp_epochs has no effect with sampling: {self.sampling}: leave it out, or set "
                "sampling: sandwich"
            )
        if self.ramp_epochs > total:
            raise ValueError(
                f"ramp_epochs must be at most the epochs of the phase, {total} with its warm-up, "
                f"got {self.ramp_epochs}"
            )
        if self.zero_gamma and self.start_from != START_DATASET:
            raise ValueError(
                f"zero_gamma is of random weights, but the phase starts from {self.start_from}: "
                "leave it out, or set it in a first phase with start_from: dataset"
            )
        return self


class TrainingParams(Section):
    """Progressive shrinking."""

    batch_size: Annotated[int, Field(ge=2, le=10**9)]
    base_batch_size: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        default=None, exclude_if=_is_none
    )
    """Images a step that the learning rates of the phases are meant for; for another batch size
    they are scaled (`scaled_rate`). Left out, they are taken as they are."""
    batch_norm_images: Annotated[int, Field(ge=2, le=10**9)] | None = None
    """Images of a batch that share batch-norm statistics; left out, all of them."""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    distillation_weight: Annotated[float, Field(ge=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    augmentation: Literal["none", "crop_flip", "random_resized_crop"]
    calibration_images: Count
    """Images that the teacher and the subnets validated after each epoch are calibrated on."""
    validation_images: Count
    """Selection images that the smallest and the largest subnet are validated on."""
    checkpoint_minutes: Positive | None = Field(default=None, exclude_if=_is_none)
    """Read where `compute.training` has none. Earlier versions had it here alone, where a change
    makes phases run again, as one of any other key of the section."""
    threads: Count
    deterministic: bool = Field(default=True, exclude_if=lambda value: value)
    """Whether equal inputs give equal bits on a GPU, too; without it its libraries choose kernels
    by speed alone. On the CPU results have equal bits either way."""
    seed: Seed
    initial_weights: dict[SourceKind, WeightsText] = Field(default_factory=dict, max_length=1)
    """What the first phase starts from, one kind and what it names; empty: random weights. A
    mapping, because DVC loops over it: no stage where it is empty."""

    def scaled_rate(self, learning_rate: float) -> float:
        """Return the learning rate of a phase for the batch size that is trained with."""
        return scaled_rate(
            learning_rate, batch_size=self.batch_size, base_batch_size=self.base_batch_size
        )

    @field_validator("initial_weights", mode="before")
    @classmethod
    def _one_kind_and_its_name(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return value
        raise ValueError(
            f"must be a kind of weights ({', '.join(SOURCE_KINDS)}) and what it names, such as "
            "{published: ofa_mbv3_d234_e346_k357_w1.0}, or left out for random weights, got "
            f"{shown(value)}"
        )

    @field_validator("initial_weights")
    @classmethod
    def _named_well(cls, value: dict[SourceKind, str]) -> dict[SourceKind, str]:
        for kind, text in value.items():
            parse_source(kind, text)
        return value

    @property
    def weights_source(self) -> WeightsSource | None:
        """What the first phase starts from; None for random weights."""
        for kind, text in self.initial_weights.items():
            return parse_source(kind, text)
        return None

    @model_validator(mode="after")
    def _cut_into_equal_groups(self) -> "TrainingParams":
        group = self.batch_norm_images
        if group and self.batch_size > group and self.batch_size % group:
            raise ValueError(
                f"batch_size must be a multiple of batch_norm_images, got {self.batch_size} and "
                f"{group}: the last group would be smaller than the others"
            )
        return self
