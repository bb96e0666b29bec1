"""What a report says: values read from the artifacts, each with the file it came from.

Accuracy is a fraction in [0, 1], latency milliseconds a call. `loading` fills these values;
`figures`, `exports` and `page` show them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.dataset_summary import DatasetSummary
from ofa_pipeline.documents import Recertification
from ofa_pipeline.report.cost import CostFacts
from ofa_pipeline.report.gallery import Gallery
from ofa_pipeline.run_warnings import RunWarning

CONFIDENCE = 0.95
"""Level of every interval that the report computes itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """What the supernet was trained on."""

    source: str
    class_names: tuple[str, ...]
    num_images: Mapping[str, int]
    """By split."""
    num_unreadable: int
    summary: DatasetSummary
    """What was found in the source, passed over, and looks wrong."""
    digest: str
    file: str

    @property
    def total_images(self) -> int:
        """Images of all splits."""
        return sum(self.num_images.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochFacts:
    """Validation after one epoch of a phase; accuracy measured on selection images."""

    epoch: int
    """Counted from 1 within the phase."""
    train_loss: float
    accuracy_smallest: float
    accuracy_largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseFacts:
    """One phase of training."""

    name: str
    elastic: Mapping[str, Sequence[float]]
    """Choices of each dimension, by its name in params.yaml."""
    learning_rate: float
    subnets_per_step: int
    epochs: tuple[EpochFacts, ...]
    digest: str
    file: str
    initial_weights: str | None = None
    """What the weights were pretrained as, as params.yaml names it; None for random weights and for
    those of another phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningPoint:
    """Error of a predictor that learned from part of the subnets."""

    num_samples: int
    rmse: float
    kendall_tau: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorFacts:
    """The accuracy predictor, checked by cross-validation."""

    kind: str
    measured: tuple[float, ...]
    """Top-1 on selection images, one a subnet."""
    predicted: tuple[float, ...]
    """By a predictor that was not fitted to the subnet."""
    predicted_std: tuple[float, ...]
    arch_ids: tuple[str, ...]
    rmse: float
    kendall_tau: float
    kendall_tau_top_decile: float
    coverage: float
    """Share of subnets within the central 90 % interval of their prediction."""
    regret: float
    """What the best of five verified subnets falls short of the best, mean over budgets."""
    noise_std: float
    """Standard deviation of the measured top-1 between calibration draws."""
    learning_curve: tuple[LearningPoint, ...]
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySample:
    """One subnet measured for a latency model."""

    arch_id: str
    role: str
    """``fit``, ``holdout`` or ``reference``."""
    measured_ms: float
    interval: Interval
    estimated_ms: float

    @property
    def relative_error(self) -> float:
        """Error of the estimate over the measured value, with its sign."""
        return self.estimated_ms / self.measured_ms - 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyFacts:
    """The latency model of a device, checked on held-out subnets."""

    card: Mapping[str, object]
    """Hardware, runtime and settings."""
    samples: tuple[LatencySample, ...]
    noise_cv: float
    """Standard deviation over the mean of repeated measurements of a subnet."""
    num_contended: int
    """Measurements on a machine that was never quiet."""
    files: tuple[str, ...]

    def errors(self, role: str = "holdout") -> tuple[float, ...]:
        """Return the relative errors of the estimates, without signs, ascending."""
        return tuple(sorted(abs(s.relative_error) for s in self.samples if s.role == role))

    def share_within(self, tolerance: float, role: str = "holdout") -> float:
        """Return the share of subnets whose estimate is off by at most `tolerance`."""
        errors = self.errors(role)
        return sum(error <= tolerance for error in errors) / len(errors) if errors else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """A subnet of the front or one that was verified."""

    arch_id: str
    latency_ms: float
    accuracy_top1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PickFacts:
    """The subnet that the search chose for a budget; both figures measured."""

    budget_ms: float
    arch_id: str
    latency_ms: float
    accuracy_top1: float
    """On selection images."""
    num_tied: int
    """Other verified subnets of the budget that differ by less than the noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFacts:
    """The search for a device."""

    front: tuple[FrontPoint, ...]
    """Estimated, ascending in latency."""
    verified: tuple[FrontPoint, ...]
    """Measured on selection images and on the device."""
    picks: tuple[PickFacts, ...]
    noise_std: float
    """Standard deviation of a measured top-1 between calibration draws."""
    num_rounds: int
    """Rounds of predict, verify, refit."""
    is_stable: bool
    """Whether the last round changed no pick."""
    accuracy_rmse: float
    """Root mean square error of the estimates of the verified subnets."""
    latency_mape: float
    """Mean relative error of the estimates of the verified subnets."""
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetFacts:
    """A subnet that ships; everything but MACs and parameters is measured on what ships."""

    device: str
    name: str
    budgets_ms: tuple[float, ...]
    """That it was picked for, ascending."""
    arch: Arch
    accuracy_top1: float
    """On test images."""
    accuracy_interval: Interval
    num_test_images: int
    accuracy_selection_extracted: float
    """On selection images, before fine-tuning."""
    accuracy_selection: float
    """On selection images, as it ships."""
    p50_ms: float
    p50_interval: Interval
    p95_ms: float
    num_runs: int
    is_contended: bool
    """Whether the machine was never quiet meanwhile: the latency is rough then."""
    verdict: str
    """``within``, ``within_noise`` (only the median is) or ``over``: the worst of its budgets."""
    shipped_file: str
    """File of the bundle that the device runs and that was measured."""
    macs: int
    num_params: int
    parity_max_abs_difference: float
    """Largest difference of a logit between the network and the exported file."""
    parity_top1_agreement: float
    """Fraction of test images with the same answer of both."""
    digest: str
    file: str
    verdicts: Mapping[float, str] = field(default_factory=dict)
    """By budget; empty where only the worst is known."""
    load_ms: float | None = None
    """What opening the file takes; None of certificates that do not say it, as those below."""
    first_call_ms: float | None = None
    peak_memory_mb: float | None = None
    """Of a process until the first call is done: Python, the runtime and the network."""
    network_memory_mb: float | None = None
    """Of it, what the network added."""

    def verdict_of(self, budget_ms: float) -> str:
        """Return the verdict against one of the budgets, or what another one would have."""
        if budget_ms in self.budgets_ms:
            return self.verdicts.get(budget_ms, self.verdict)
        if self.p50_interval.high <= budget_ms:
            return "within"
        return "within_noise" if self.p50_ms <= budget_ms else "over"

    @property
    def p95_within_budget(self) -> bool:
        """Whether 95 of 100 calls are within every budget."""
        return self.p95_ms <= self.budgets_ms[0]

    @property
    def within_budget(self) -> bool:
        """Whether the median is within every budget."""
        return self.verdict != "over"

    @property
    def budget_share(self) -> float:
        """Part of the smallest budget that the p50 latency takes."""
        return self.p50_ms / self.budgets_ms[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedlessBudget:
    """A latency budget that buys nothing over a cheaper one of the same device."""

    budget_ms: float
    cheaper_ms: float
    accuracy_top1: float
    """Top-1 of the subnet for the budget, on test images."""
    cheaper_accuracy_top1: float
    """Top-1 of the subnet for the cheaper budget, on test images."""
    noise: float
    """Half the 95 % interval of the difference, on the same images; fraction."""
    is_same_subnet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionFacts:
    """What a subnet takes for what, on test images."""

    subnet: SubnetFacts
    class_names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """Row: true class; column: predicted class."""
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """All about one device."""

    name: str
    latency: LatencyFacts
    search: SearchFacts
    subnets: tuple[SubnetFacts, ...]
    """Ascending in latency."""
    model_name: str
    """Name of the registered model; empty where the receipts do not tell it."""
    needless_budgets: tuple[NeedlessBudget, ...] = ()
    again: Recertification | None = None
    """What was measured of these subnets later; None where nobody has."""
    location: str | None = None
    """Where it is, as params.yaml names it; None for a device of the machine that profiled it."""

    @property
    def served(self) -> tuple[tuple[float, SubnetFacts], ...]:
        """Each budget with the subnet that serves it, ascending."""
        pairs = [(budget, subnet) for subnet in self.subnets for budget in subnet.budgets_ms]
        return tuple(sorted(pairs, key=lambda pair: pair[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFacts:
    """One artifact of the lineage."""

    path: str
    digest: str
    made_from: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContents:
    """Everything that the page, the metrics and the plots say."""

    title: str
    space: SearchSpace
    dataset: DatasetFacts
    phases: tuple[PhaseFacts, ...]
    predictor: PredictorFacts
    devices: tuple[DeviceFacts, ...]
    confusion: ConfusionFacts | None
    cost: CostFacts
    artifacts: tuple[ArtifactFacts, ...]
    warnings: tuple[RunWarning, ...] = ()
    """What went wrong without stopping the run, in the order of the stages."""
    gallery: Gallery | None = None
    """None without a confusion matrix."""
    first_phase_top1: float | None = None
    """Top-1 of the largest subnet after the first phase, on selection images; None where an earlier
    version did not note it."""

    @property
    def chance(self) -> float | None:
        """Share of test images of the most frequent class; None without a confusion matrix."""
        if self.confusion is None:
            return None
        images = [sum(row) for row in self.confusion.counts]
        return max(images) / sum(images)

    @property
    def subnets(self) -> tuple[SubnetFacts, ...]:
        """Subnets of all devices."""
        return tuple(subnet for device in self.devices for subnet in device.subnets)

    @property
    def best(self) -> SubnetFacts:
        """The subnet with the highest top-1 on test images; the faster one of equals."""
        return max(self.subnets, key=lambda subnet: (subnet.accuracy_top1, -subnet.p50_ms))


def proportion_interval(share: float, *, count: int) -> Interval:
    """Return the 95 % interval of a proportion.

    Args:
        share: Observed, in [0, 1].
        count: Number of independent trials, at least 1.

    Source:
        Wilson 1927, the score interval: unlike the normal one it stays within [0, 1].
    """
    from scipy.stats import binomtest

    found = binomtest(round(share * count), count).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(low=float(found.low), high=float(found.high))
