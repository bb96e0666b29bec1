"""What a latency measurement is, and the statistics behind it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.stats import binom

from ofa_pipeline.arch import FloatArray

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyMeasurement:
    """Measured latency of one call, in milliseconds of the quiet machine.

    Times are ratios to a reference network that is called in between, times the reference's
    own latency, so that a machine that is slower for a while does not change them.
    """

    p50_ms: float
    """Median."""
    p95_ms: float
    """95 of 100 calls take at most this."""
    ci_low_ms: float
    """Lower end of the 95 % confidence interval of the median."""
    ci_high_ms: float
    num_runs: int
    """Timed calls that count."""
    num_dropped_runs: int
    """Timed calls that do not count because the machine was not quiet meanwhile."""
    reference_ms: float
    """Latency of the reference network that the ratios were multiplied with."""
    reference_p10_ms: float
    """10 of 100 visits to the reference network were faster than this meanwhile."""
    slowdown: float
    """Median latency of the reference network meanwhile, over `reference_ms`."""
    is_contended: bool
    """Whether the machine was never quiet for long enough: the figures are rough then."""
    kind: Literal["measured"] = "measured"

    def rescaled(self, reference_ms: float) -> "LatencyMeasurement":
        """Return the same ratios with another latency of the reference network."""
        factor = reference_ms / self.reference_ms
        return replace(
            self,
            p50_ms=self.p50_ms * factor,
            p95_ms=self.p95_ms * factor,
            ci_low_ms=self.ci_low_ms * factor,
            ci_high_ms=self.ci_high_ms * factor,
            reference_ms=reference_ms,
            slowdown=self.slowdown / factor,
        )

    def meets(self, budget_ms: float) -> bool:
        """Tell whether the whole confidence interval of the median is within the budget."""
        return self.ci_high_ms <= budget_ms

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LatencyMeasurement":
        """Build from what `to_dict` returned."""
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A median and its confidence interval."""

    median: float
    low: float
    high: float


def median_interval(values: FloatArray, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the median with a confidence interval from the order statistics.

    It needs no assumption on the distribution but independent values. With fewer than six
    values (at 95 %) even the extremes do not reach the confidence; they are the interval then.

    Args:
        values: Shape (n,), at least one.
        confidence: That the interval covers the true median.
    """
    ordered = np.sort(values)
    count = len(ordered)
    below = int(binom.ppf((1 - confidence) / 2, count, 0.5))
    rank = max(below - 1, 0)
    return Interval(
        median=float(np.median(ordered)),
        low=float(ordered[rank]),
        high=float(ordered[count - 1 - rank]),
    )
