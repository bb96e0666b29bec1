"""Whether a device still is what it was certified to be: its files, measured again."""

from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field

from ofa_pipeline.documents.base import Count, Document, Milliseconds, Part
from ofa_pipeline.documents.certificate import BudgetCertificate
from ofa_pipeline.documents.latency import Quantile


class CanaryFigures(Part):
    """A certified file that was measured again."""

    name: str
    """Its bundle."""
    certified_ms: Milliseconds
    measured_ms: Milliseconds
    """Median on the scale of the certificate: a ratio to the reference network."""
    measured_p95_ms: Milliseconds
    """95 of 100 calls take at most this; on the same scale."""
    ci_low_ms: Milliseconds
    """Lower end of the 95 % confidence interval of the median."""
    ci_high_ms: Milliseconds
    """Upper end of the 95 % confidence interval of the median."""
    num_runs: Count
    """Timed calls that count."""
    is_contended: bool
    """Whether the machine was never quiet for long enough: the figures are rough then."""
    budgets: tuple[BudgetCertificate, ...]
    """Verdicts of what was measured now, on each budget that it was picked for, ascending."""

    @property
    def change(self) -> float:
        """Measured over certified median, less 1."""
        return self.measured_ms / self.certified_ms - 1.0

    def is_within(self, quantile: Quantile) -> bool:
        """Whether a quantile of the calls is within every budget."""
        verdicts = (item.p50 if quantile == "p50" else item.p95 for item in self.budgets)
        return all(verdict != "over" for verdict in verdicts)


class Recertification(Document):
    """The answer of ``ofa-pipeline recertify``, which is kept for the report, too."""

    model_config = ConfigDict(title="a device that was certified, measured again")

    device: str
    fingerprint: str
    """Digest of the device card: that of the profile, or nothing would have been measured."""
    measured_at: AwareDatetime
    """When the last file was measured, in UTC."""
    canaries: Annotated[tuple[CanaryFigures, ...], Field(min_length=1)]
    slope: float
    """Of the affine map from certified latencies to those of now."""
    intercept_ms: float
    largest_shift: float
    """Of a canary by that map, as a fraction."""
    chi_square: float
    """Of the map against no change."""
    speed: float
    """Latency of the reference network now over that of then."""
    has_moved: bool
    """Whether that is beyond the noise: the certificates of the device are stale then."""
    stale: tuple[str, ...]
    """Versions that were marked as stale."""

    def num_within(self, quantile: Quantile) -> int:
        """Return how many files are within every budget that they were picked for."""
        return sum(canary.is_within(quantile) for canary in self.canaries)

    @property
    def num_quiet(self) -> int:
        """How many files were measured on a quiet machine: only these tell whether it has moved."""
        return sum(not canary.is_contended for canary in self.canaries)

    @property
    def largest_change(self) -> float:
        """Of a file's median, as a fraction of what was certified; with its sign."""
        return max((canary.change for canary in self.canaries), key=abs)
