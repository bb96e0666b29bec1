"""Latency certificates: what was measured on what, and the verdict against each budget."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median_low

from ofa_pipeline.documents import LatencyMeasurement, Verdict

NUM_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The latency of one file on one device."""

    measurement: LatencyMeasurement
    """The middle one of the attempts: taking the fastest would flatter it."""
    attempts_p50_ms: tuple[float, ...]
    """Medians of all attempts, in order."""

    def verdict(self, budget_ms: float) -> Verdict:
        """Compare the median with a budget."""
        return self.measurement.verdict(budget_ms)


class Certifier:
    """Measures one file, and again when a budget was missed."""

    def __init__(
        self, measure: Callable[[], LatencyMeasurement], *, max_attempts: int = NUM_ATTEMPTS
    ) -> None:
        """Measure nothing yet.

        Args:
            measure: One measurement of the file that ships, in a fresh session.
            max_attempts: How often a budget that was missed is measured; 1 where asking again
                returns the same.
        """
        self._measure = measure
        self._max_attempts = max_attempts
        self._attempts: list[LatencyMeasurement] = []

    @property
    def certificate(self) -> Certificate:
        """Certificate of the measurements so far; the first is made when needed."""
        if not self._attempts:
            self._attempts.append(self._measure())
        middle_ms = median_low(attempt.p50_ms for attempt in self._attempts)
        middle = next(attempt for attempt in self._attempts if attempt.p50_ms == middle_ms)
        return Certificate(
            measurement=middle,
            attempts_p50_ms=tuple(attempt.p50_ms for attempt in self._attempts),
        )

    def meets(self, budget_ms: float) -> bool:
        """Tell whether the median is within a budget.

        A first measurement that does not settle it (its interval reaches over the budget) is
        repeated, and the middle one of all attempts decides.
        """
        if self.certificate.verdict(budget_ms) == "within":
            return True
        while len(self._attempts) < self._max_attempts:
            self._attempts.append(self._measure())
        return self.certificate.verdict(budget_ms) != "over"
