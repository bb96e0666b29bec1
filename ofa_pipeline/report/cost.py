"""What once-for-all cost, and what training each subnet alone costs: values and sums of them.

Seconds are compared as CPU seconds over all threads; where a CUDA device worked, as wall seconds.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

from ofa_pipeline.stopwatch import Seconds

_BACKWARD = 2
"""Forward passes that a backward pass costs: gradients of the inputs and of the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What one stage took."""

    stage: str
    item: str | None
    """Phase or device."""
    seconds: Seconds | None
    """None where nobody noted them."""
    finished: str | None = None
    """When it ended, ISO 8601 in UTC; None where an earlier version did not note it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuningCost:
    """What fine-tuning one subnet with the teacher took."""

    device: str
    arch_id: str
    seconds: Seconds | None
    epochs: int
    macs: int
    teacher_macs: int

    def alone(self, *, epochs: int) -> Seconds | None:
        """Estimate what training the architecture alone takes; None where it cannot be.

        An epoch without the teacher is an epoch of fine-tuning less the teacher's forward pass,
        by multiply-accumulates.

        Args:
            epochs: To train it for.
        """
        if self.seconds is None or not self.epochs or not self.seconds.is_complete:
            return None
        student = (1 + _BACKWARD) * self.macs
        factor = epochs / self.epochs * student / (student + self.teacher_macs)
        return Seconds(
            cpu_s=factor * self.seconds.cpu_s,
            wall_s=factor * self.seconds.wall_s,
            on_cuda=self.seconds.on_cuda,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AloneFacts:
    """An architecture trained alone, measured; accuracy on the test images."""

    device: str
    arch_id: str
    accuracy_top1_extracted: float
    """Calibrated straight from the supernet."""
    accuracy_top1_finetuned: float
    """As it ships."""
    accuracy_top1: float
    """Trained alone; the mean over the networks that were."""
    standard_error: float
    """Standard error of the difference of the latter two."""
    seconds: Seconds

    @property
    def gain(self) -> float:
        """What ships less what was trained alone, a fraction."""
        return self.accuracy_top1_finetuned - self.accuracy_top1

    @property
    def errors(self) -> float:
        """The difference in standard errors; 0 where all answers are equal."""
        return self.gain / self.standard_error if self.standard_error else 0.0

    @property
    def is_within_two_standard_errors(self) -> bool:
        """Whether what ships is at least as good, as far as the images can tell."""
        return self.gain >= -2 * self.standard_error


@dataclass(frozen=True, slots=True, kw_only=True)
class CostFacts:
    """Everything that the report says of cost."""

    epochs: int
    """Passes over the images in all phases together."""
    once: tuple[StageCost, ...] = ()
    """What is done once, however many subnets are taken out."""
    finetunings: tuple[FinetuningCost, ...] = ()
    measured: tuple[AloneFacts, ...] = ()
    """One for each fine-tuning; none where it was not measured on the present artifacts."""
    specialized: tuple[StageCost, ...] = ()
    """Fine-tuning, export and measurement of all subnets of a device, one a device."""

    @property
    def on_cuda(self) -> bool:
        """Whether a CUDA device worked."""
        known = [*(item.seconds for item in self.once), *(f.seconds for f in self.finetunings)]
        return any(seconds is not None and seconds.on_cuda for seconds in known)

    @property
    def total_once(self) -> Seconds | None:
        """The sum of what is done once; None where a part is not known at all."""
        return _sum(self.once)

    @property
    def total(self) -> Seconds | None:
        """The sum of everything that was done; None where a part is not known at all."""
        return _sum((*self.once, *self.specialized))

    def finetuning(self, device: str, arch_id: str) -> FinetuningCost | None:
        """Return what fine-tuning a subnet took; None where nobody noted it."""
        for item in self.finetunings:
            if (item.device, item.arch_id) == (device, arch_id):
                return item
        return None

    @property
    def finished(self) -> str | None:
        """When the last subnet was made, ISO 8601 in UTC; None where nobody noted it."""
        return max((item.finished for item in self.specialized if item.finished), default=None)

    def made(self, device: str) -> str | None:
        """Return when the subnets of a device were made; None where nobody noted it."""
        found = [item.finished for item in self.specialized if item.item == device]
        return found[0] if found else None

    @property
    def once_s(self) -> float | None:
        """Seconds of it, as compared."""
        return self.compared(self.total_once)

    @property
    def subnets(self) -> tuple[FinetuningCost, ...]:
        """The fine-tuning of each subnet, once: devices that ship the same one share it."""
        return tuple({item.arch_id: item for item in reversed(self.finetunings)}.values())[::-1]

    @property
    def finetuning_s(self) -> float | None:
        """Mean seconds of fine-tuning a subnet."""
        return _mean(self.compared(item.seconds) for item in self.subnets)

    @property
    def alone_s(self) -> float | None:
        """Mean seconds of training a subnet alone: measured, else estimated."""
        return _mean(self.compared(self.alone(item)) for item in self.subnets)

    @property
    def break_even(self) -> float | None:
        """Number of subnets at which both cost the same; None where it is unknown or infinite."""
        return break_even(once_s=self.once_s, alone_s=self.alone_s, finetuning_s=self.finetuning_s)

    @property
    def cheaper_from(self) -> int | None:
        """The smallest number of subnets that once-for-all is cheaper for."""
        return None if self.break_even is None else math.floor(self.break_even) + 1

    def alone(self, finetuning: FinetuningCost) -> Seconds | None:
        """Return what training the same architecture alone took, or an estimate of it."""
        measured = self.measurement(finetuning)
        return measured.seconds if measured else finetuning.alone(epochs=self.epochs)

    def measurement(self, finetuning: FinetuningCost) -> AloneFacts | None:
        """Return what was measured of the same architecture trained alone."""
        for item in self.measured:
            if (item.device, item.arch_id) == (finetuning.device, finetuning.arch_id):
                return item
        return None

    def compared(self, seconds: Seconds | None) -> float | None:
        """Return the seconds that are compared: of the CPUs, or wall seconds with CUDA."""
        if seconds is None:
            return None
        return seconds.wall_s if self.on_cuda else seconds.cpu_s


def break_even(
    *, once_s: float | None, alone_s: float | None, finetuning_s: float | None
) -> float | None:
    """Return the number of subnets from which on once-for-all is cheaper.

    None where a figure is missing, or where fine-tuning costs as much as training alone: then
    it never is.
    """
    if once_s is None or alone_s is None or finetuning_s is None or finetuning_s >= alone_s:
        return None
    return once_s / (alone_s - finetuning_s)


def _sum(stages: Sequence[StageCost]) -> Seconds | None:
    known = [item.seconds for item in stages if item.seconds is not None]
    return sum(known, Seconds()) if known and len(known) == len(stages) else None


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean; None where a value is missing or none is given."""
    found = list(values)
    known = [value for value in found if value is not None]
    return mean(known) if known and len(known) == len(found) else None
