"""Typed params.yaml: the only reader of the file.

Every section is a frozen model that refuses unknown names. A stage is given the sections that
`ofa_pipeline.stages.STAGES` declares for it, and DVC tracks the same ones.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.cron import check_cron, check_timezone
from ofa_pipeline.errors import ArchError, ParamsError, YamlError, shown, suggest
from ofa_pipeline.explain import explain
from ofa_pipeline.parts import part_names
from ofa_pipeline.spaces import REFERENCE_SPACES, mobilenet_v3_small_images, reference_space
from ofa_pipeline.weights_source import SOURCE_KINDS, SourceKind, WeightsSource, parse_source
from ofa_pipeline.yaml_reader import read_yaml

_MAX_NAME = 60
_SANDWICH = 3


def _is_text(value: str) -> str:
    """Refuse what no screen, file name or database shows: control characters, lone surrogates."""
    if not value.isprintable():
        raise ValueError(f"must be one line of printable text, got {shown(value)}")
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _part_of(folder: str, *, or_else: str | None = None) -> Callable[[str], str]:
    """Return a check that a name is that of a file in a folder of the package.

    Args:
        folder: Relative to the package.
        or_else: Another name that will do.
    """

    def check(name: str) -> str:
        known = (*([or_else] if or_else else ()), *part_names(folder))
        if name not in known:
            raise ValueError(
                f"must be one of {', '.join(known)}, got {shown(name)}.{suggest(name, known)}"
            )
        return name

    return check


# Names become file names, and parts of the registry's names.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
DatasetName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=_MAX_NAME)]
Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_is_text)]
WeightsText = Annotated[str, Field(max_length=4096), AfterValidator(_is_text)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Channels = Annotated[int, Field(ge=1, le=2**16)]
Ratio = Annotated[float, Field(gt=0, le=64)]
Few = Field(max_length=64)
"""Limit of the number of entries of a list."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]

SMALL_IMAGES = "mobilenet_v3_small_images"
_MAX_HELD_OUT = 0.9
_GENERIC_FOLDER = re.compile(
    r"archive|data(sets?)?|default|dev|extracted|files|images?|imgs?|inputs?|jpe?gs?|parquet|photos"
    r"|pictures|pngs?|raw|src|(test|train|training|validation)(-set)?|testing|trainval|val(id)?"
)
"""Names of folders that do not say what is in them: the folder above is meant."""
_SHARD = re.compile(r"(-\d+-of-\d+.*)?\.parquet$")
"""What follows the name in a Parquet file, as the Hugging Face Hub writes it."""
ANY_DATASET = "any"
"""What look-ups take for every dataset, so that no dataset is called so."""
_APART: Mapping[str, frozenset[str]] = {
    "dataset": frozenset({"name"}),
    "training": frozenset({"initial_weights"}),
}
"""By section, what manifests leave out of it: what is only a name, so that no artifact is made from
it, and what is a section of its own, of the stage that makes something of it."""
START_DATASET, START_INITIAL = "dataset", "initial"
"""What the first phase may start from: new random weights, or `TrainingParams.initial_weights`."""


class Section(BaseModel):
    """Base of every section: frozen, no unknown names, no silent conversions, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DatasetParams(Section):
    """Where the images come from and how they are split."""

    source: Annotated[str, Field(max_length=4096), AfterValidator(_is_text)]
    name: DatasetName | None = None
    """In the names of registered models; left out, it follows from the source (`label`)."""
    image_size_px: Annotated[int, Field(ge=8, le=1024)]
    test_fraction: Fraction
    selection_fraction: Fraction
    calibration_fraction: Fraction
    max_bad_fraction: Annotated[float, Field(ge=0, lt=1)]
    shard_rows: Count
    seed: Seed
    image_column: Text = "image"
    """Column of a Parquet file."""
    label_column: Text = "label"
    """Column of a Parquet file."""
    value_range: tuple[Finite, Finite] | None = None
    """Values that become 0 and 255 where an image has more than 8 bits a channel."""

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str) -> str:
        kind, _, rest = source.partition(":")
        kinds = ("fashion_mnist_sample", "image_folder", "parquet", "torchvision")
        if kind not in kinds:
            raise ValueError(f"unknown source {shown(kind)}.{suggest(kind, kinds)}")
        if (kind == "fashion_mnist_sample") == bool(rest):
            raise ValueError(
                "must be fashion_mnist_sample, image_folder:PATH, parquet:PATH or "
                f"torchvision:NAME, got {shown(source)}"
            )
        return source

    @field_validator("value_range")
    @classmethod
    def _some_range(cls, value_range: tuple[float, float] | None) -> tuple[float, float] | None:
        if value_range is not None and value_range[0] >= value_range[1]:
            raise ValueError(f"must be [LOW, HIGH] with LOW below HIGH, got {list(value_range)}")
        return value_range

    @field_validator("name")
    @classmethod
    def _no_word_of_the_look_ups(cls, name: str | None) -> str | None:
        if name == ANY_DATASET:
            raise ValueError(f"must be another name: {name!r} means every dataset in look-ups")
        return name

    @property
    def label(self) -> str:
        """The name of the dataset: `name`, or what the source is called.

        A path counts by its last folder (or file) that is not called like any other, such as
        ``train`` or ``images``.
        """
        if self.name is not None:
            return self.name
        kind, _, rest = self.source.partition(":")
        if not rest:
            return _slug(kind)
        parts = [_slug(part) for part in PurePath(_SHARD.sub("", rest)).parts]
        named = [part for part in parts if part and part != ANY_DATASET]
        special = [part for part in named if not _GENERIC_FOLDER.fullmatch(part)]
        return next(reversed(special or named), _slug(kind))

    @model_validator(mode="after")
    def _columns_belong_to_parquet(self) -> "DatasetParams":
        given = {"image_column", "label_column"} & self.model_fields_set
        if given and not self.source.startswith("parquet:"):
            raise ValueError(
                f"{' and '.join(sorted(given))} are of Parquet files and have no effect on "
                f"{self.source}: leave them out"
            )
        return self

    @model_validator(mode="after")
    def _leave_images_to_train_on(self) -> "DatasetParams":
        held_out = self.test_fraction + self.selection_fraction + self.calibration_fraction
        if held_out >= _MAX_HELD_OUT:
            raise ValueError(
                "test_fraction + selection_fraction + calibration_fraction must leave at least "
                f"0.1 to train on, got {held_out:g} in total"
            )
        return self


class SpaceParams(Section):
    """The search space: a reference supernet by its id, or a small-image space spelled out."""

    family: str
    resolutions_px: Annotated[tuple[Annotated[int, Field(ge=8, le=1024)], ...], Few] | None = None
    depths: Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], Few] | None = None
    kernel_sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=15)], ...], Few] | None = None
    expand_ratios: Annotated[tuple[Ratio, ...], Few] | None = None
    stem_stride: Literal[1, 2] | None = None
    stem_channels: Channels | None = None
    group_channels: Annotated[tuple[Channels, ...], Few] | None = None
    group_strides: Annotated[tuple[Literal[1, 2], ...], Few] | None = None
    head_channels: tuple[Channels, Channels] | None = None

    @model_validator(mode="after")
    def _complete(self) -> "SpaceParams":
        families = (SMALL_IMAGES, *REFERENCE_SPACES)
        if self.family not in families:
            raise ValueError(
                f"unknown family {shown(self.family)}.{suggest(self.family, families)}"
            )
        shape = self.model_dump(exclude={"family", "resolutions_px"})
        if self.family != SMALL_IMAGES:
            given = sorted(key for key, value in shape.items() if value is not None)
            if given:
                raise ValueError(f"{self.family} fixes {', '.join(given)}: leave them out")
            return self
        missing = sorted(
            key
            for key, value in {**shape, "resolutions_px": self.resolutions_px}.items()
            if value is None
        )
        if missing:
            raise ValueError(f"{self.family} needs {', '.join(missing)}")
        if len(self.group_channels or ()) != len(self.group_strides or ()):
            raise ValueError(
                "group_channels and group_strides must have as many entries as each other, got "
                f"{len(self.group_channels or ())} and {len(self.group_strides or ())}"
            )
        try:
            self.build()
        except ArchError as error:
            raise ValueError(str(error)) from error
        return self

    def build(self) -> SearchSpace:
        """Return the search space."""
        if self.family != SMALL_IMAGES:
            return reference_space(self.family).restrict(resolutions_px=self.resolutions_px)
        values: dict[str, Any] = self.model_dump(exclude={"family"})
        return mobilenet_v3_small_images(**values)


class PhaseParams(Section):
    """One phase of the supernet's training: what is elastic, how it learns, and for how long."""

    start_from: str
    """``supernet/PHASE``, the phase before this one; for the first ``dataset``, new random weights,
    or ``initial``, those of `TrainingParams.initial_weights`."""
    depths: Annotated[tuple[int, ...], Few] | Annotated[tuple[tuple[int, ...], ...], Few]
    """One list for all block groups, or one for each."""
    kernel_sizes: Annotated[tuple[int, ...], Few]
    expand_ratios: Annotated[tuple[float, ...], Few]
    width_multipliers: Annotated[tuple[float, ...], Few] | None = None
    """Choices of spaces with elastic width; left out, all of them."""
    epochs: Count
    """Besides the warm-up; more where they are fewer than `min_steps`."""
    min_steps: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Updates that the epochs must amount to: few images make few steps an epoch."""
    warmup_epochs: Annotated[int, Field(ge=0, le=10**9)]
    learning_rate: Positive
    """At the top of the cosine, for the whole batch."""
    cosine: tuple[Share, Share] = (0.0, 1.0)
    """The part of the cosine that the epochs go through, from where to where: ``[0, 1]`` from
    `learning_rate` down to zero; ``[0, 0.5]`` and, in the next phase, ``[0.5, 1]`` share one."""
    subnets_per_step: Count
    """Subnets whose gradients are averaged in one update."""
    sampling: Literal["uniform", "sandwich", "largest"] = "uniform"
    """``uniform``: uniform draws, at one image size a step; ``sandwich``: the largest, the
    smallest, and uniform draws, each at its own image size; ``largest``: the largest alone."""
    largest_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """With ``sandwich``, what the gradient of the largest subnet counts in that average; the others
    share the rest. Left out, as much as each of them."""
    teacher: Annotated[str, AfterValidator(_part_of("training/recipes"))] = "previous"
    """Whose soft labels the subnets learn from, a file of `ofa_pipeline.training.recipes`: of the
    largest subnet that the phase before has left, besides the labels; or ``in_place``, of the
    largest subnet in the same step, which alone learns from the labels. The first phase has none
    before it."""

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


class TrainingParams(Section):
    """Progressive shrinking."""

    batch_size: Annotated[int, Field(ge=2, le=10**9)]
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
    checkpoint_minutes: Positive
    threads: Count
    seed: Seed
    initial_weights: dict[SourceKind, WeightsText] = Field(default_factory=dict, max_length=1)
    """What the first phase starts from, one kind and what it names; empty: random weights. A
    mapping, because DVC loops over it: no stage where it is empty."""

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


class EvaluationParams(Section):
    """How a subnet's accuracy is measured."""

    calibration_images: Count
    batch_size: Count
    threads: Count


class AccuracyParams(Section):
    """The initial design of measured subnets."""

    num_subnets: Annotated[int, Field(ge=10, le=10**6)]
    num_noise_repeats: Annotated[int, Field(ge=2, le=10**9)]
    seed: Seed


class PredictorParams(Section):
    """The accuracy predictor."""

    kind: Annotated[str, AfterValidator(_part_of("predictor/kinds", or_else="auto"))]
    """A file of `ofa_pipeline.predictor.kinds`; ``auto``: chosen among some of them."""
    tune: bool = False
    """Whether to tune the settings of the kind, or of the kinds that ``auto`` chooses among."""
    cross_validation_folds: Annotated[int, Field(ge=2, le=10**9)]
    seed: Seed


class LatencyParams(Section):
    """How latency is measured and modelled."""

    num_subnets: Annotated[int, Field(ge=10, le=10**6)]
    num_holdout: Annotated[int, Field(ge=5, le=10**9)]
    warmup_runs: Count
    timed_runs: Annotated[int, Field(ge=10, le=10**9)]
    seed: Seed


class RuntimeSettings(Section):
    """What runs the subnets: the runtime and its settings; the hardware is this machine."""

    runtime: Annotated[str, AfterValidator(_part_of("devices/runtimes"))]
    accelerator: Literal["cpu", "cuda"]
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    """Which of them a runtime computes in, it says itself."""
    threads: Count
    batch_size: Count
    """Images a call."""


class DeviceParams(Section):
    """A device and the budgets to serve on it, in milliseconds a call."""

    card: RuntimeSettings
    budgets_ms: Annotated[tuple[Positive, ...], Few] | None = None
    budget_fractions: Annotated[tuple[Share, ...], Few] | None = None

    @model_validator(mode="after")
    def _one_kind_of_budget(self) -> "DeviceParams":
        given = [v for v in (self.budgets_ms, self.budget_fractions) if v is not None]
        if len(given) != 1 or not given[0]:
            raise ValueError("give budgets_ms or budget_fractions, one of them, not empty")
        if list(given[0]) != sorted(set(given[0])):
            raise ValueError(f"budgets must be ascending without repeats, got {given[0]}")
        return self


class SearchParams(Section):
    """Search for the Pareto front and its verification."""

    population: Annotated[int, Field(ge=16, le=10**6)]
    generations: Count
    verify_top_k: Count
    max_rounds: Count
    latency_margin: Annotated[float, Field(ge=0, lt=0.5)]
    sampler: Annotated[str, AfterValidator(_part_of("search/samplers"))] = "ours"
    """Proposes the subnets to verify: a file of `ofa_pipeline.search.samplers`."""
    seed: Seed


class SpecializeParams(Section):
    """Fine-tuning of the picked subnets."""

    epochs: Annotated[int, Field(ge=0, le=10**9)] | Literal["auto"]
    """At most; ``auto``: a fourth of what the supernet was trained for."""
    learning_rate: Positive | Literal["auto"]
    """``auto``: three quarters of that of the first phase."""
    seed: Seed


class RegistryParams(Section):
    """Names in the model registry."""

    experiment: Text
    model_prefix: Name


class ReportParams(Section):
    """The HTML report."""

    title: Text


class ScheduleParams(Section):
    """When the served flow runs."""

    cron: Annotated[str, AfterValidator(check_cron)]
    timezone: Annotated[str, AfterValidator(check_timezone)]


def _check_first_start(
    name: str, phases: Mapping[str, PhaseParams], training: TrainingParams
) -> None:
    """Check that initial weights are named and used, or neither.

    Raises:
        ValueError: If one of both is missing.
    """
    is_initial = phases[name].start_from == START_INITIAL
    if is_initial and not training.initial_weights:
        raise ValueError(
            f"phases.{name}.start_from is {START_INITIAL!r}, so training.initial_weights must name "
            "weights, got none. Name some, such as {published: ofa_mbv3_d234_e346_k357_w1.0}, or "
            f"write start_from: {START_DATASET} for random weights."
        )
    if training.initial_weights and not is_initial:
        raise ValueError(
            f"phases.{name}.start_from must be {START_INITIAL!r}, because training.initial_weights "
            f"names weights that have no effect otherwise, got {phases[name].start_from!r}"
        )


def _check_that_phases_widen(spaces: dict[str, SearchSpace], space: SearchSpace) -> None:
    """Check that each phase keeps what those before made elastic, and the last has the space.

    Raises:
        ValueError: If subnets that are searched later would be left untrained, or spoilt.
    """
    for before, after in pairwise(spaces):
        if lost := _lost(spaces[before], spaces[after]):
            raise ValueError(
                f"phases.{after} must keep what phases.{before} made elastic, it lacks {lost}: the "
                "subnets that have them would be spoilt. Swap the phases, or add the values."
            )
    last = list(spaces)[-1]
    if lost := _lost(space, spaces[last]):
        raise ValueError(
            f"phases.{last} is the last and must make the whole space elastic, it lacks {lost}: "
            "the search would find subnets that were never trained. Add the values, or take them "
            "out of the space."
        )


def _lost(before: SearchSpace, after: SearchSpace) -> str:
    """Return the choices that one space has and the other has not, in words; nothing if none."""
    lost: dict[str, set[float]] = {}
    for name in ("depths", "kernel_sizes", "expand_ratios"):
        for one, other in zip(before.block_groups, after.block_groups, strict=True):
            lost.setdefault(name, set()).update(set(getattr(one, name)) - set(getattr(other, name)))
    lost["width_multipliers"] = set(before.width_multipliers) - set(after.width_multipliers)
    return "; ".join(
        f"{name} {', '.join(f'{value:g}' for value in sorted(values))}"
        for name, values in lost.items()
        if values
    )


class Params(Section):
    """All of params.yaml."""

    dataset: DatasetParams
    space: SpaceParams
    training: TrainingParams
    final_phase: Name
    phases: Annotated[dict[Name, PhaseParams], Few]
    evaluation: EvaluationParams
    accuracy: AccuracyParams
    predictor: PredictorParams
    latency: LatencyParams
    devices: Annotated[dict[Name, DeviceParams], Few]
    search: SearchParams
    specialize: SpecializeParams
    registry: RegistryParams
    report: ReportParams
    schedule: ScheduleParams

    @model_validator(mode="after")
    def _phases_fit_the_space(self) -> "Params":
        if not self.devices:
            raise ValueError("devices must name at least one device")
        if not self.phases or self.final_phase != list(self.phases)[-1]:
            raise ValueError(
                f"final_phase must be the last of phases, got {self.final_phase!r} and "
                f"{list(self.phases)}"
            )
        # DVC cannot work out "the phase before", so every phase names it (dvc.yaml).
        first = START_INITIAL if self.training.initial_weights else START_DATASET
        expected = (first, *(f"supernet/{name}" for name in self.phases))
        _check_first_start(next(iter(self.phases)), self.phases, self.training)
        for (name, phase), start in zip(self.phases.items(), expected, strict=False):
            if phase.start_from != start:
                raise ValueError(
                    f"phases.{name}.start_from must be {start!r}, what the phase before it "
                    f"writes, got {phase.start_from!r}"
                )
        space = self.space.build()
        spaces: dict[str, SearchSpace] = {}
        for name, phase in self.phases.items():
            try:
                spaces[name] = space.restrict(
                    depths=phase.depths,
                    kernel_sizes=phase.kernel_sizes,
                    expand_ratios=phase.expand_ratios,
                    width_multipliers=phase.width_multipliers,
                )
            except ArchError as error:
                raise ValueError(
                    f"phases.{name} must stay within the space: {error}. "
                    "Change the phase or the space."
                ) from error
        _check_that_phases_widen(spaces, space)
        return self

    @model_validator(mode="after")
    def _published_weights_are_of_the_space(self) -> "Params":
        source = self.training.weights_source
        if source and source.kind == "published" and source.name != self.space.family:
            raise ValueError(
                f"space.family must be {source.name!r}, the space of the weights that "
                f"training.initial_weights names, got {self.space.family!r}"
            )
        return self

    @model_validator(mode="after")
    def _counts_fit_the_space(self) -> "Params":
        num_archs = self.space.build().num_archs
        for name, count in {
            "accuracy.num_subnets": self.accuracy.num_subnets,
            "latency.num_subnets + latency.num_holdout": (
                self.latency.num_subnets + self.latency.num_holdout
            ),
            "search.verify_top_k": self.search.verify_top_k,
        }.items():
            if count > num_archs:
                raise ValueError(
                    f"{name} must be at most {num_archs}, the different subnets of the space, got "
                    f"{count}. Lower it, or give the space more choices."
                )
        if self.predictor.cross_validation_folds > self.accuracy.num_subnets:
            raise ValueError(
                "predictor.cross_validation_folds must be at most accuracy.num_subnets, "
                f"{self.accuracy.num_subnets}, got {self.predictor.cross_validation_folds}"
            )
        return self

    def previous_phase(self, phase: str) -> str | None:
        """Return the phase that `phase` starts from; None for the first.

        Raises:
            ParamsError: If there is no such phase.
        """
        names = list(self.phases)
        if phase not in names:
            raise ParamsError(f"unknown phase {phase!r}.{suggest(phase, names)}")
        index = names.index(phase)
        return names[index - 1] if index else None

    def device(self, name: str) -> DeviceParams:
        """Return a device card.

        Raises:
            ParamsError: If params.yaml has no such device.
        """
        if name not in self.devices:
            raise ParamsError(f"unknown device {name!r}.{suggest(name, self.devices)}")
        return self.devices[name]

    def sections(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return sections as plain values, by dotted names such as ``phases.kernel``.

        Without what is only a name: renaming a dataset leaves every artifact as it was.
        """
        plain = self.model_dump(mode="json")
        found = {}
        for name in names:
            value: Any = plain
            for key in name.split("."):
                value = value[key]
            if apart := _APART.get(name):
                value = {key: item for key, item in value.items() if key not in apart}
            found[name] = value
        return found


def load_params(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: If the file is missing, is not YAML, or a value is wrong; the message names
            every wrong value, what was found and what must hold.
    """
    try:
        values = read_yaml(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ParamsError(
            f"{path} is missing. Run in the project's folder, or name it with --workspace."
        ) from error
    except YamlError as error:
        raise ParamsError(str(error)) from error
    if values is None:
        raise ParamsError(f"{path} must hold sections such as dataset and space, it is empty.")
    return parse_params(values, origin=str(path))


def parse_params(values: object, *, origin: str) -> Params:
    """Check values as params.yaml holds them.

    Args:
        values: What the YAML parser returned.
        origin: Where they come from, for the error message.

    Raises:
        ParamsError: If a value is wrong.
    """
    try:
        return Params.model_validate(_lists_to_tuples(values))
    except ValidationError as error:
        raise ParamsError(f"{origin}: {explain(error, Params)}") from error


def _slug(text: str) -> str:
    """Return a text as a name: lower case letters, digits, ``-``; empty where it has none."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_MAX_NAME].strip("-")


def _lists_to_tuples(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _lists_to_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_lists_to_tuples(item) for item in value)
    return value
