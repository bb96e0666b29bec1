"""Subnets whose accuracies compare, as columns: a question about thousands takes microseconds.

Every question for one subnet is answered here, by one rule: the most accurate on test within the
bounds; of equally accurate ones the faster, of equally fast ones the one that was registered first,
so that registering the same again moves nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.documents import LatencyFigures, Quantile
from ofa_pipeline.errors import InfeasibleConstraintError
from ofa_pipeline.registry.questions import Question
from ofa_pipeline.registry.record import RegisteredSubnet


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a subnet is the answer, and what more latency would buy."""

    subnet: RegisteredSubnet
    runner_up: RegisteredSubnet | None
    """The second best within the same bounds."""
    next_better: RegisteredSubnet | None
    """The fastest of those that are more accurate: beyond the bound."""
    extra_ms: float | None
    """What it takes more."""
    points_gained: float | None
    """Percentage points of top-1 that it has more."""
    points_per_ms: float | None
    """The price of the budget."""
    noise_points: float
    """Standard error of the answer's accuracy: a smaller difference is none."""

    @property
    def is_gain_noise(self) -> bool:
        """Whether the next better one may be no better at all."""
        return self.points_gained is not None and self.points_gained <= self.noise_points


class ComparableSubnets:
    """Subnets that were measured on the same test images."""

    def __init__(self, subnets: Sequence[RegisteredSubnet], *, device: str | None) -> None:
        """Make the columns.

        Args:
            subnets: In any order; their accuracies must compare.
            device: Whose latency counts; None: each subnet's own device.
        """
        self.subnets = tuple(subnets)
        self._device = device
        figures = [figures_on(item, device) for item in subnets]
        self._accuracy = _column(item.record.accuracy_top1 for item in subnets)
        self._size = _column(item.record.size_bytes for item in subnets)
        self._value = {q: _column(item.value_ms(q) for item in figures) for q in get_args(Quantile)}
        self._high = {q: _column(item.high_ms(q) for item in figures) for q in get_args(Quantile)}
        names = [item.record.model_name for item in subnets]
        versions = _column(item.version for item in subnets)
        self._order = {
            q: np.lexsort((np.array(names), versions, self._value[q], -self._accuracy))
            for q in get_args(Quantile)
        }
        """The best first."""
        self._fronts: dict[Quantile, tuple[RegisteredSubnet, ...]] = {}

    def best(self, question: Question) -> RegisteredSubnet | None:
        """Return the best subnet within the bounds of a question, or None."""
        return next(iter(self._first(question, 1)), None)

    def runner_up(self, question: Question) -> RegisteredSubnet | None:
        """Return the second best subnet within the bounds of a question, or None."""
        return next(iter(self._first(question, 2)[1:]), None)

    def front(self, quantile: Quantile = "p50") -> tuple[RegisteredSubnet, ...]:
        """Return the Pareto front, the fastest first: nothing is as fast and more accurate."""
        if quantile not in self._fronts:
            self._fronts[quantile] = self._front(quantile)
        return self._fronts[quantile]

    def _front(self, quantile: Quantile) -> tuple[RegisteredSubnet, ...]:
        names = np.array([item.record.model_name for item in self.subnets])
        versions = _column(item.version for item in self.subnets)
        order = np.lexsort((names, versions, -self._accuracy, self._value[quantile]))
        accuracy = self._accuracy[order]
        before = np.concatenate([[-np.inf], np.maximum.accumulate(accuracy)[:-1]])
        return tuple(self.subnets[index] for index in order[accuracy > before])

    def explain(self, question: Question) -> Explanation | None:
        """Return the best subnet and the price of the budget; None where nothing is within."""
        answer = self.best(question)
        if answer is None:
            return None
        unbounded = Question(
            quantile=question.quantile,
            min_accuracy=question.min_accuracy,
            max_size_bytes=question.max_size_bytes,
        )
        better = self._within(unbounded) & (self._accuracy > answer.record.accuracy_top1)
        latency = np.where(better, self._value[question.quantile], np.inf)
        found = self.subnets[int(np.argmin(latency))] if better.any() else None
        extra_ms = points = price = None
        if found is not None:
            taken = figures_on(answer, self._device).value_ms(question.quantile)
            extra_ms = float(latency.min()) - taken
            points = 100 * (found.record.accuracy_top1 - answer.record.accuracy_top1)
            price = points / extra_ms if extra_ms > 0 else None
        return Explanation(
            subnet=answer,
            runner_up=self.runner_up(question),
            next_better=found,
            extra_ms=extra_ms,
            points_gained=points,
            points_per_ms=price,
            noise_points=100 * accuracy_noise(answer),
        )

    def infeasible(self, question: Question) -> InfeasibleConstraintError:
        """Return the error of a question that nothing answers; names the nearest subnet."""
        bound = question.verdict == "within"
        latency = (self._high if bound else self._value)[question.quantile]
        fastest = int(np.argmin(latency))
        wanted = f"no registered subnet has {question.text}: "
        limit_ms = question.max_latency_ms
        if limit_ms is not None and latency[fastest] > limit_ms:
            subnet = self.subnets[fastest]
            sure = ", the upper end of its confidence interval" if bound else ""
            return InfeasibleConstraintError(
                f"{wanted}the fastest of {len(self.subnets)} takes {latency[fastest]:.4g} ms{sure} "
                f"(arch {subnet.record.arch.arch_id}). Raise the limit, or add a smaller budget to "
                f"devices.{question.device or subnet.record.device} in params.yaml and run the "
                "pipeline."
            )
        within = np.ones(len(latency), bool) if limit_ms is None else latency <= limit_ms
        small = np.where(within, self._size, np.inf)
        if question.max_size_bytes is not None and small.min() > question.max_size_bytes:
            subnet = self.subnets[int(np.argmin(small))]
            return InfeasibleConstraintError(
                f"{wanted}the smallest one within the latency has {small.min() / 1e6:.4g} MB "
                f"(arch {subnet.record.arch.arch_id}). Allow a larger file or more latency."
            )
        within &= self._size <= (question.max_size_bytes or np.inf)
        nearest = self.subnets[int(np.argmax(np.where(within, self._accuracy, -np.inf)))]
        return InfeasibleConstraintError(
            f"{wanted}the most accurate one within the other bounds reaches "
            f"{nearest.record.accuracy_top1:.4f} (arch {nearest.record.arch.arch_id}). Allow more "
            "latency or less accuracy."
        )

    def _first(self, question: Question, count: int) -> tuple[RegisteredSubnet, ...]:
        order = self._order[question.quantile]
        found = order[self._within(question)[order]][:count]
        return tuple(self.subnets[index] for index in found)

    def _within(self, question: Question) -> NDArray[np.bool_]:
        """Return which subnets meet the bounds, (N,)."""
        within = self._accuracy >= (question.min_accuracy or 0)
        if question.max_latency_ms is not None:
            bounded = self._high if question.verdict == "within" else self._value
            within &= bounded[question.quantile] <= question.max_latency_ms
        if question.max_size_bytes is not None:
            within &= self._size <= question.max_size_bytes
        return within


def figures_on(subnet: RegisteredSubnet, device: str | None) -> LatencyFigures:
    """Return what was measured on a device; None: on the subnet's own."""
    return subnet.record.latency[device or subnet.record.device]


def accuracy_noise(subnet: RegisteredSubnet) -> float:
    """Return the standard error of an accuracy on test, a fraction: that of a share of images."""
    share = subnet.record.accuracy_top1
    return sqrt(share * (1 - share) / max(subnet.record.num_test_images, 1))


def is_clearly_better(subnet: RegisteredSubnet, than: RegisteredSubnet) -> bool:
    """Tell whether an accuracy is higher than another by more than its noise."""
    gain = subnet.record.accuracy_top1 - than.record.accuracy_top1
    return gain > max(accuracy_noise(subnet), accuracy_noise(than))


def _column(values: Iterable[float]) -> NDArray[np.float64]:
    return np.fromiter(values, np.float64)
