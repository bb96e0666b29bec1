"""The document of a verified search: for each budget the pick, its price and the runners-up."""

from pydantic import ConfigDict

from ofa_pipeline.arch import Arch
from ofa_pipeline.documents.base import Count, Document, Fraction, Milliseconds, Part
from ofa_pipeline.documents.latency import LatencyMeasurement


class Candidate(Part):
    """A subnet that was evaluated and measured."""

    arch_id: str
    arch: Arch
    accuracy_top1_selection: Fraction
    """Measured on selection images."""
    accuracy_top1_estimated: float
    latency_ms: Milliseconds
    """Measured median."""
    latency: LatencyMeasurement
    latency_ms_estimated: float


class RunnerUp(Candidate):
    """Another subnet within a budget."""

    is_tied: bool
    """Whether it is as accurate as the pick, as far as the noise allows to tell."""


class PickedSubnet(Candidate):
    """The most accurate subnet within a budget."""

    budget_ms: Milliseconds
    price_points_per_ms: float
    """Percentage points of accuracy that one more millisecond would buy."""
    num_tied: Count
    runners_up: tuple[RunnerUp, ...]
    """Best first."""


class VerificationReport(Part):
    """How the estimates of the verified subnets compare with their measurements."""

    accuracy_rmse_points: float
    accuracy_optimism_points: float
    """Mean of estimated minus measured."""
    latency_mape_percent: float


class Picks(Document):
    """What a search found, by measurement."""

    model_config = ConfigDict(title="the picks of a search")

    picks: tuple[PickedSubnet, ...]
    """By budget, ascending."""
    accuracy_noise_points: float
    """Standard deviation of a measured accuracy."""
    num_verified: Count
    num_rounds: Count
    is_stable: bool
    """Whether the last round has left the picks as they were."""
    latency_correction: float
    """Measured over estimated latency of the verified subnets."""
    hypervolume_estimated: float
    verification: VerificationReport
