"""Looks whether training went wrong: after each phase, and at the subnets that ship."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ofa_pipeline.evaluation.comparison import (
    LIMIT,
    AccuracyChange,
    chance_level,
    compare_paired,
    proportion_noise,
)
from ofa_pipeline.evaluation.evaluator import SubnetAccuracy
from ofa_pipeline.run_warnings import RunWarning

SUMMARY_KEY = "largest_subnet"
"""Key in the summary of a phase's manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestSubnet:
    """Top-1 of the largest subnet on all selection images, before and after a phase."""

    accuracy_top1_first_phase: float
    """After the first of all phases: what the others must not lose."""
    accuracy_top1_before: float | None
    """With the weights that the phase started from; None for the first phase."""
    accuracy_top1_after: float
    difference: float | None
    """After minus before, on the same images; None for the first phase."""
    noise: float | None
    """Standard deviation of the difference where nothing changed; None for the first phase."""
    num_images: int

    @classmethod
    def from_summary(cls, summary: Mapping[str, Any]) -> "LargestSubnet | None":
        """Return what the summary of a phase's manifest says; None of an earlier version."""
        found = summary.get(SUMMARY_KEY)
        return None if found is None else cls(**found)

    def to_summary(self) -> dict[str, Any]:
        """Return what goes into the summary of the manifest."""
        return {SUMMARY_KEY: asdict(self)}

    @property
    def change(self) -> AccuracyChange | None:
        """What the phase did; None for the first phase."""
        if self.accuracy_top1_before is None or self.difference is None or self.noise is None:
            return None
        return AccuracyChange(
            before=self.accuracy_top1_before,
            after=self.accuracy_top1_after,
            difference=self.difference,
            noise=self.noise,
            num_images=self.num_images,
        )


def first_largest(after: SubnetAccuracy) -> LargestSubnet:
    """Return the figures of the first phase."""
    return LargestSubnet(
        accuracy_top1_first_phase=after.accuracy_top1,
        accuracy_top1_before=None,
        accuracy_top1_after=after.accuracy_top1,
        difference=None,
        noise=None,
        num_images=after.num_images,
    )


def next_largest(
    before: SubnetAccuracy, after: SubnetAccuracy, *, previous: LargestSubnet | None
) -> LargestSubnet:
    """Return the figures of a phase that starts from another one.

    Args:
        before: With the weights that the phase started from.
        after: On the same images, calibrated in the same way.
        previous: Figures of the phase before; None of an earlier version, and the phase before
            then counts as the first.
    """
    change = compare_paired(before.correct, after.correct)
    first = before.accuracy_top1 if previous is None else previous.accuracy_top1_first_phase
    return replace(
        first_largest(after),
        accuracy_top1_first_phase=first,
        accuracy_top1_before=change.before,
        difference=change.difference,
        noise=change.noise,
    )


def largest_after(
    after: SubnetAccuracy, before: SubnetAccuracy | None, previous: Mapping[str, Any] | None
) -> LargestSubnet:
    """Return what a phase did to the largest subnet.

    The weights before are those of the previous artifact, so a phase that was killed and resumed
    gives the same figures.

    Args:
        after: With the weights that the phase has left.
        before: With those that it started from; None for the first phase.
        previous: Summary of the phase before; None for the first phase.
    """
    if before is None or previous is None:
        return first_largest(after)
    return next_largest(before, after, previous=LargestSubnet.from_summary(previous))


def watch_phase(largest: LargestSubnet, *, phase: str, is_sandwich: bool) -> RunWarning | None:
    """Warn where a phase made the largest subnet worse.

    Only "worse than before" counts: a phase whose learning rate has not come down leaves a
    largest subnet that later phases improve.

    Args:
        largest: Figures of the phase.
        phase: Its name.
        is_sandwich: Whether the largest subnet was trained in every step.
    """
    change = largest.change
    if change is None or not change.is_worse:
        return None
    sandwich = (
        ""
        if is_sandwich
        else f", or set phases.{phase}.sampling to sandwich, which trains it in every step"
    )
    return RunWarning(
        stage="train_supernet",
        item=phase,
        message=(
            f"the phase {phase} made the largest subnet worse: {_percent(change.before)} before, "
            f"{_percent(change.after)} after, {_points(change.difference)} with a noise of "
            f"{100 * change.noise:.2f} (top-1 on {change.num_images:,} selection images). All "
            "subnets share its weights, and what comes after starts from them."
        ),
        figures={
            "accuracy_top1_before": change.before,
            "accuracy_top1_after": change.after,
            "difference": change.difference,
            "noise": change.noise,
            "num_images": change.num_images,
        },
        advice=(
            f"Lower phases.{phase}.learning_rate, raise phases.{phase}.epochs{sandwich}; then run "
            "again."
        ),
    )


def watch_chance(largest: LargestSubnet, labels: Sequence[int], *, phase: str) -> RunWarning | None:
    """Warn at once where a phase leaves a largest subnet that has learned nothing.

    Args:
        largest: Figures of the phase.
        labels: Class of each selection image.
        phase: Its name.
    """
    accuracy, num_images = largest.accuracy_top1_after, len(labels)
    chance = chance_level(labels)
    noise = proportion_noise(chance, num_images=num_images)
    if accuracy > chance + LIMIT * noise:
        return None
    return RunWarning(
        stage="train_supernet",
        item=phase,
        message=(
            f"after the phase {phase} the largest subnet cannot be told from chance: "
            f"{_percent(accuracy)} right of {num_images:,} selection images; always answering the "
            f"most frequent class gives {_percent(chance)}, with a noise of {100 * noise:.2f} "
            "points. The subnets share its weights."
        ),
        figures={
            "accuracy_top1_after": accuracy,
            "accuracy_top1_chance": chance,
            "noise": noise,
            "num_images": num_images,
        },
        advice=(
            f"Look at the classes of the source (artifacts/dataset/summary.json), raise "
            f"phases.{phase}.epochs, or try another phases.{phase}.learning_rate, before more is "
            "spent on it."
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """The subnets that ship to a device, as selection images see them."""

    device: str
    accuracy_top1: Mapping[str, float]
    """By architecture id; at least one."""
    labels: Sequence[int]
    """Class of each selection image."""

    @property
    def best(self) -> float:
        """The highest accuracy."""
        return max(self.accuracy_top1.values())


def watch_shipped(
    shipped: Shipped, *, largest: LargestSubnet | None, phases: Sequence[str]
) -> tuple[RunWarning, ...]:
    """Warn where what ships is at chance level, or worse than the first phase was.

    Args:
        shipped: As it ships.
        largest: Figures of the last phase; None of an earlier version, then only chance counts.
        phases: Names of all phases, in order.
    """
    found = (
        _at_chance(shipped, phases=phases),
        None if largest is None else _below_first_phase(shipped, largest, phases=phases),
    )
    return tuple(warning for warning in found if warning is not None)


def _at_chance(shipped: Shipped, *, phases: Sequence[str]) -> RunWarning | None:
    num_images = len(shipped.labels)
    chance = chance_level(shipped.labels)
    noise = proportion_noise(chance, num_images=num_images)
    at_chance = [
        arch_id
        for arch_id, accuracy in shipped.accuracy_top1.items()
        if accuracy <= chance + LIMIT * noise
    ]
    if not at_chance:
        return None
    accuracy = max(shipped.accuracy_top1[arch_id] for arch_id in at_chance)
    return RunWarning(
        stage="specialize",
        item=shipped.device,
        message=(
            f"{len(at_chance)} of {len(shipped.accuracy_top1)} subnets of {shipped.device} cannot "
            f"be told from chance ({', '.join(at_chance)}): at most {_percent(accuracy)} right of "
            f"{num_images:,} selection images; always answering the most frequent class gives "
            f"{_percent(chance)}, with a noise of {100 * noise:.2f} points."
        ),
        figures={
            "accuracy_top1": accuracy,
            "accuracy_top1_chance": chance,
            "noise": noise,
            "num_images": num_images,
            "num_subnets": len(at_chance),
        },
        advice=(
            f"Look at the classes of the source (ofa-pipeline params check), raise phases."
            f"{phases[0]}.epochs, try another phases.{phases[0]}.learning_rate, or, where there "
            "are few images, raise dataset.selection_fraction."
        ),
    )


def _below_first_phase(
    shipped: Shipped, largest: LargestSubnet, *, phases: Sequence[str]
) -> RunWarning | None:
    """Compare two networks: as if their images were independent, which overstates the noise."""
    first, last = largest.accuracy_top1_first_phase, largest.accuracy_top1_after
    change = _unpaired(first, shipped.best, largest.num_images, len(shipped.labels))
    if not change.is_worse:
        return None
    is_lost = _unpaired(first, last, largest.num_images, largest.num_images).is_worse
    device = shipped.device
    return RunWarning(
        stage="specialize",
        item=device,
        message=(
            f"the best subnet of {device} is worse than the largest subnet was after the first "
            f"phase ({phases[0]}): {_percent(change.after)} against {_percent(change.before)}, "
            f"{_points(change.difference)} with a noise of {100 * change.noise:.2f} (top-1 on "
            f"{change.num_images:,} selection images)."
        ),
        figures={
            "accuracy_top1": change.after,
            "accuracy_top1_first_phase": change.before,
            "accuracy_top1_last_phase": last,
            "difference": change.difference,
            "noise": change.noise,
            "num_images": change.num_images,
        },
        advice=_advice_below_first_phase(device, last, is_lost=is_lost, last_phase=phases[-1]),
    )


def _advice_below_first_phase(device: str, last: float, *, is_lost: bool, last_phase: str) -> str:
    if is_lost:
        return (
            f"The phases after it lost that: the largest subnet ended at {_percent(last)}. Lower "
            "their learning_rate, raise their epochs, or set their sampling to sandwich "
            "(phases in params.yaml)."
        )
    return (
        f"The largest subnet still has {_percent(last)}, so smaller ones fall short. Raise "
        f"phases.{last_phase}.epochs or specialize.epochs, or, if a subnet may take longer, the "
        f"budgets of devices.{device}."
    )


def _unpaired(before: float, after: float, num_before: int, num_after: int) -> AccuracyChange:
    noises = (
        proportion_noise(before, num_images=num_before),
        proportion_noise(after, num_images=num_after),
    )
    return AccuracyChange(
        before=before,
        after=after,
        difference=after - before,
        noise=(noises[0] ** 2 + noises[1] ** 2) ** 0.5,
        num_images=num_after,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f} points"
