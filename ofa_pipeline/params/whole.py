"""All of params.yaml, and what must hold between its sections."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, model_validator

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.errors import ArchError, ParamsError, shown, suggest
from ofa_pipeline.params.compute import CHECKPOINT_MINUTES, ComputeParams
from ofa_pipeline.params.dataset import DatasetParams
from ofa_pipeline.params.delivery import (
    RegistryParams,
    ReportParams,
    ScheduleParams,
    SpecializeParams,
)
from ofa_pipeline.params.devices import DeviceParams
from ofa_pipeline.params.search import (
    MIN_HOLDOUT,
    MIN_MEASURED,
    MIN_SUBNETS,
    AccuracyParams,
    EvaluationParams,
    LatencyParams,
    PredictorParams,
    SearchParams,
)
from ofa_pipeline.params.space import SpaceParams
from ofa_pipeline.params.training import (
    CE_KD,
    START_DATASET,
    START_INITIAL,
    PhaseParams,
    TrainingParams,
)
from ofa_pipeline.params.values import Few, Name, Section

_APART: Mapping[str, frozenset[str]] = {
    "dataset": frozenset({"name"}),
    "training": frozenset({"initial_weights"}),
}
"""By section, what manifests leave out of it: what is only a name, so that no artifact is made from
it, and what is a section of its own, of the stage that makes something of it."""


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
    compute: ComputeParams = Field(default_factory=ComputeParams)
    """Where work runs: in no manifest, because no result depends on it."""

    @property
    def checkpoint_minutes(self) -> float:
        """Minutes between two checkpoints of a training, at most."""
        own, before = self.compute.training.checkpoint_minutes, self.training.checkpoint_minutes
        return own or before or CHECKPOINT_MINUTES

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
                of_whom = "what the phase before it writes"
                if start == first:
                    of_whom = "because it is the first of phases"
                raise ValueError(
                    f"phases.{name}.start_from must be {start!r}, {of_whom}, got "
                    f"{shown(phase.start_from)}"
                )
        space = self.space.build()
        spaces: dict[str, SearchSpace] = {}
        for name, phase in self.phases.items():
            try:
                spaces[name] = phase.part_of(space)
            except ArchError as error:
                raise ValueError(
                    f"phases.{name} must stay within the space: {str(error).rstrip('.')}. "
                    "Change the phase or the space."
                ) from error
        _check_that_phases_widen(spaces, space)
        return self

    @model_validator(mode="after")
    def _learn_what_is_taught(self) -> "Params":
        for name, phase in self.phases.items():
            if phase.loss != CE_KD and not self.training.distillation_weight:
                raise ValueError(
                    f"training.distillation_weight must be above 0 for loss: {phase.loss} of "
                    f"phases.{name}, where subnets learn from their teacher alone, got 0"
                )
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
        fewest = max(MIN_SUBNETS, MIN_MEASURED + MIN_HOLDOUT)
        if num_archs < fewest:
            raise ValueError(
                f"space must have at least {fewest} different subnets, because models of accuracy "
                f"and latency are fitted to {MIN_SUBNETS} and {fewest} of them at least, got "
                f"{num_archs}. Give it more choices, such as image sizes in space.resolutions_px."
            )
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

    def device(self, name: str) -> DeviceParams:
        """Return a device card.

        Raises:
            ParamsError: If params.yaml has no such device.
        """
        if name not in self.devices:
            raise ParamsError(f"unknown device {shown(name)}.{suggest(name, self.devices)}")
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
        if _decouples(spaces[before], spaces[after]):
            raise ValueError(
                f"phases.{after} is coupled and phases.{before} is not: the subnets whose expand "
                "ratios do not follow their depths would be spoilt. Swap the phases, or leave out "
                f"phases.{after}.space."
            )
        if lost := _lost(spaces[before], spaces[after]):
            raise ValueError(
                f"phases.{after} must keep what phases.{before} made elastic, it lacks {lost}: the "
                "subnets that have them would be spoilt. Swap the phases, or add the values."
            )
    last = list(spaces)[-1]
    if _decouples(space, spaces[last]):
        raise ValueError(
            f"phases.{last} is the last and coupled, but the space is not: the search would find "
            "subnets that were never trained. Write coupled: true in the section space, or leave "
            f"out phases.{last}.space."
        )
    if lost := _lost(space, spaces[last]):
        raise ValueError(
            f"phases.{last} is the last and must make the whole space elastic, it lacks {lost}: "
            "the search would find subnets that were never trained. Add the values, or take them "
            "out of the space."
        )


def _decouples(before: SearchSpace, after: SearchSpace) -> bool:
    """Return whether one space has uncoupled subnets and the other none."""
    is_elastic = any(len(group.expand_ratios) > 1 for group in before.block_groups)
    return after.is_coupled and not before.is_coupled and is_elastic


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
