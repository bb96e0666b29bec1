"""Documents of latency: what was measured, on what, and what was learned from it."""

import hashlib
import json
import math
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from ofa_pipeline.arch import Arch
from ofa_pipeline.documents.base import (
    Count,
    Document,
    Fraction,
    Megabytes,
    Milliseconds,
    Part,
    RuntimeOptions,
)

Quantile = Literal["p50", "p95"]
"""The median, or what 95 of 100 calls take at most."""
Verdict = Literal["within", "within_noise", "over"]
"""The confidence interval is within the budget; only the figure is; neither is."""

_NORMAL_95 = 1.645
"""95 % quantile of the standard normal distribution."""
_NORMAL_975 = 1.960
_P95_ERROR = 2.113
"""Standard error of an estimated 95 % quantile of n normal values, times the root of n over their
standard deviation: the root of 0.95 * 0.05 over the density there."""


class LatencyFigures(Part):
    """Measured latency of one call, in milliseconds."""

    p50_ms: Milliseconds
    """Median."""
    p95_ms: Milliseconds
    """95 of 100 calls take at most this."""
    ci_low_ms: Milliseconds
    """Lower end of the 95 % confidence interval of the median."""
    ci_high_ms: Milliseconds
    """Upper end of the 95 % confidence interval of the median."""
    num_runs: int
    """Timed calls that count."""

    def value_ms(self, quantile: Quantile) -> float:
        """Return a quantile of the calls."""
        return self.p50_ms if quantile == "p50" else self.p95_ms

    def high_ms(self, quantile: Quantile) -> float:
        """Return the upper end of the 95 % confidence interval of a quantile.

        That of the median was measured. That of the 95 % quantile follows from the spread of the
        calls and their number, for calls whose logarithm is normally distributed: a rough figure,
        and on the safe side where the machine, and not the network, made the slow calls.
        """
        if quantile == "p50":
            return self.ci_high_ms
        spread = math.log(max(self.p95_ms / self.p50_ms, 1.0)) / _NORMAL_95
        error = _P95_ERROR * spread / math.sqrt(max(self.num_runs, 1))
        return self.p95_ms * math.exp(_NORMAL_975 * error)

    def verdict(self, budget_ms: float, *, quantile: Quantile = "p50") -> Verdict:
        """Compare a quantile with a budget.

        Returns:
            ``within`` when its whole 95 % confidence interval is within the budget,
            ``within_noise`` when the figure is and the interval reaches over, else ``over``.
        """
        if self.high_ms(quantile) <= budget_ms:
            return "within"
        return "within_noise" if self.value_ms(quantile) <= budget_ms else "over"


class LatencyMeasurement(LatencyFigures):
    """A latency in milliseconds of the quiet machine, and how it was measured.

    Times are ratios to a reference network that is called in between, times the reference's
    own latency, so that a machine that is slower for a while does not change them.
    """

    num_dropped_runs: int
    """Timed calls that do not count because the machine was not quiet."""
    reference_ms: float
    """Latency of the reference network that the ratios were multiplied with."""
    reference_p10_ms: float
    """10 of 100 visits to the reference network were faster than this meanwhile."""
    slowdown: float
    """Median latency of the reference network meanwhile, over `reference_ms`."""
    is_contended: bool
    """Whether the machine was never quiet for long enough: the figures are rough then."""
    is_warm: bool | None = Field(default=None, exclude_if=lambda v: v is None)
    """Whether calls became no faster before they were timed; False: the figures are rough. None of
    what was measured before it was noted, as in the figures below."""
    load_ms: Milliseconds | None = Field(default=None, exclude_if=lambda v: v is None)
    """What the runtime, imported before, took to open the file, as the clock says: the fastest of
    the fresh loads."""
    first_call_ms: Milliseconds | None = Field(default=None, exclude_if=lambda v: v is None)
    """What the first call after that took, as the clock says; the fastest of them."""
    peak_memory_mb: Megabytes | None = Field(default=None, exclude_if=lambda v: v is None)
    """Most memory that was resident until the first call was done: Python, the runtime and the
    network, the memory of a GPU not. None where the system does not say (Linux does)."""
    network_memory_mb: Megabytes | None = Field(default=None, exclude_if=lambda v: v is None)
    """Of it, what opening the file and the first call added."""
    kind: Literal["measured"] = "measured"

    def rescaled(self, reference_ms: float) -> "LatencyMeasurement":
        """Return the same ratios with another latency of the reference network.

        What loading and the first call took is no ratio, and stays.
        """
        factor = reference_ms / self.reference_ms
        return self.model_copy(
            update={
                "p50_ms": self.p50_ms * factor,
                "p95_ms": self.p95_ms * factor,
                "ci_low_ms": self.ci_low_ms * factor,
                "ci_high_ms": self.ci_high_ms * factor,
                "reference_ms": reference_ms,
                "slowdown": self.slowdown / factor,
            }
        )

    @property
    def stability(self) -> float:
        """Share of the calls that count, times p50 over p95.

        It is 1 where nothing disturbed a call and all took the same.
        """
        num_calls = max(self.num_runs + self.num_dropped_runs, 1)
        return self.num_runs / num_calls * min(self.p50_ms / self.p95_ms, 1.0)

    def meets(self, budget_ms: float) -> bool:
        """Tell whether the whole confidence interval of the median is within the budget."""
        return self.ci_high_ms <= budget_ms


class DeviceCard(Part):
    """A device: settings, hardware and versions; no host name, no clock.

    Latencies of equal cards may be compared, others not.
    """

    runtime: str
    runtime_version: str
    accelerator: str
    hardware: str
    """Model of the processor, or of the GPU."""
    precision: str
    threads: int
    batch_size: int
    pinning: tuple[int, ...] | None = Field(default=None, exclude_if=lambda v: v is None)
    """Cores that measurements were pinned to; None where params.yaml names none."""
    options: RuntimeOptions | None = Field(default=None, exclude_if=lambda v: v is None)
    """Of the runtime, by its own names; None where params.yaml names none."""
    governor: str | None = Field(default=None, exclude_if=lambda v: v is None)
    """What sets the clock of the CPU, such as ``performance``; None where it cannot be seen."""
    driver: str | None = Field(default=None, exclude_if=lambda v: v is None)
    """Version of the GPU's driver; None for a CPU."""
    cores: int | None = Field(default=None, exclude_if=lambda v: v is None)
    """CPU cores that a measurement could use; None for a GPU, and where it was not noted."""

    @property
    def told(self) -> str:
        """What the runtime is told besides, after a comma each; empty where nothing."""
        return "".join(
            f", {name} {str(value).lower() if isinstance(value, bool) else value}"
            for name, value in (self.options or {}).items()
        )

    @property
    def fingerprint(self) -> str:
        """Ten hex digits that change with any of the fields."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def differences(self, other: "DeviceCard") -> tuple[str, ...]:
        """Say in which fields another card differs, one text a field.

        A number of cores that one of them does not say is no difference: earlier versions noted
        none.
        """
        mine, theirs = self.to_dict(), other.to_dict()
        if self.cores is None or other.cores is None:
            mine, theirs = {**mine, "cores": None}, {**theirs, "cores": None}
        return tuple(
            f"{name} {mine.get(name, 'unknown')} against {theirs.get(name, 'unknown')}"
            for name in {**mine, **theirs}
            if mine.get(name) != theirs.get(name)
        )


class ReferenceSubnet(Part):
    """The network that every subnet is compared with on a device."""

    arch: Arch
    latency_ms: Milliseconds
    """On the quiet machine."""


class DeviceProfile(Document):
    """What later stages must know of a device to measure on it as it was profiled."""

    model_config = ConfigDict(title="the profile of a device")

    device: DeviceCard
    fingerprint: str
    """Digest of the device card."""
    reference: ReferenceSubnet
    smallest_ms: Milliseconds
    """Measured latency of the smallest subnet of the space."""
    largest_ms: Milliseconds
    measurement: dict[str, Any]
    """The section ``latency`` of params.yaml."""


class LaunchCosts(Part):
    """What launching the layers of a network takes: its latency, where the work is less."""

    costs_ms: dict[str, float]
    """Milliseconds a layer and a block."""
    fixed_ms: float


class LatencyResidual(Part):
    """A Gaussian process that corrects a sum of totals, by relative errors.

    The correction is ``sum_i weights_i exp(-|x - points_i|^2 / (2 length^2 d)) + z group_weights``,
    where x are the logarithms of one plus the totals, d of them, and z the totals of each block
    group over the sum, both less the center and over the scale.
    """

    center: list[float]
    scale: list[float]
    length: float
    points: list[list[float]]
    """Standardized, one of each subnet that it learned from."""
    weights: list[float]
    group_center: list[float]
    group_scale: list[float]
    group_weights: list[float]
    limit: float
    """The correction is at most this, either way."""


class PredictionInterval(Part):
    """Where the measured latency of a subnet lies, relative to its estimate."""

    coverage: Fraction
    """Share of subnets that lie within; of those like the ones that were measured."""
    low: float
    """Below the estimate, a fraction that is not positive."""
    high: float


class LatencyCosts(Part):
    """A latency model: what a unit of each physical total takes."""

    space_digest: str
    num_classes: int
    costs_ms: dict[str, float]
    """Milliseconds a unit of each total."""
    fixed_ms: float
    """Milliseconds a call."""
    tile_px: Annotated[int, Field(ge=1)] = 1
    """Pixels that convolutions compute at once: the totals are those of whole tiles."""
    form: str = "totals"
    """The candidate that cross-validation chose."""
    launch: LaunchCosts | None = None
    """Where launching takes longer than the work, it is the latency."""
    residual: LatencyResidual | None = None
    interval: PredictionInterval | None = None
    """None in files of format 1."""


class LatencyModelReport(Part):
    """How well estimates fit measurements."""

    num_subnets: int
    mape: float
    """Mean absolute error over the measured latency, a fraction."""
    median_error: float | None = None
    """Of the same; None in files of format 1."""
    share_within_5_percent: float
    share_within_10_percent: float
    kendall_tau: float
    spearman_rho: float | None = None
    max_error: float
    """Largest absolute error over the measured latency, a fraction."""
    coverage: float | None = None
    """Share of the measurements within the prediction interval."""


class LatencyLearningPoint(Part):
    """The error of models that learned from fewer subnets."""

    num_subnets: int
    mape: float
    """On the held-out subnets, the mean of some draws."""


class LatencySelection(Part):
    """How the model was chosen, and what it set aside."""

    losses: dict[str, float]
    """Cross-validated mean relative error of each candidate, outliers capped."""
    outliers: list[str]
    """Identifiers of fitted subnets whose measurement is far off and was not fitted to."""
    share_launch_bound: Fraction
    """Of the fitted subnets, those that take as long as launching their layers."""
    learning_curve: list[LatencyLearningPoint]
    mape_with_20_more: float
    """Extrapolated error with 20 more measured subnets: along a + b / n, never below noise."""


class MeasurementNoise(Part):
    """How well measurements of the same subnet repeat."""

    cv: float
    """Standard deviation over the mean, pooled over subnets."""
    num_subnets: Count
    num_measurements: Count
    num_contended: Count
    """Measurements on a machine that was never quiet."""


class LatencyReport(Part):
    """How far a latency model is to be trusted."""

    fit: LatencyModelReport
    """On the subnets that it learned from."""
    holdout: LatencyModelReport
    """On others."""
    noise: MeasurementNoise
    selection: LatencySelection | None = None
    """None in files of format 1."""


class FittedLatency(Part):
    """The latency model of a device, and what is to be said about it: one of three formats."""

    model_config = ConfigDict(title="a latency model")

    format: Literal[1, 2, 3] = 1
    """Format 1, of files without a format too, knows sums of totals alone; format 3 is one whose
    totals are those of whole tiles, which earlier versions would not count."""
    model: LatencyCosts
    report: LatencyReport
