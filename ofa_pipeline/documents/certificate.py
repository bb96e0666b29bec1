"""The certificate of a registered subnet: what was measured of the file that ships, and on what."""

from datetime import datetime

from pydantic import ConfigDict

from ofa_pipeline.documents.base import (
    Count,
    Digest,
    Document,
    Fraction,
    Megabytes,
    Milliseconds,
    Part,
)
from ofa_pipeline.documents.latency import DeviceCard, Verdict


class BudgetCertificate(Part):
    """Whether the latency on a device is within a budget."""

    budget_ms: Milliseconds
    p50: Verdict
    """Of the median."""
    p95: Verdict
    """Of what 95 of 100 calls take at most."""


class DeviceCertificate(Part):
    """What was measured on a device."""

    device: str
    card: DeviceCard
    fingerprint: str
    """Digest of the device card."""
    p50_ms: Milliseconds
    p95_ms: Milliseconds
    ci_low_ms: Milliseconds
    """Lower end of the 95 % confidence interval of the median."""
    ci_high_ms: Milliseconds
    """Upper end of the 95 % confidence interval of the median."""
    p95_high_ms: Milliseconds
    """Upper end of the 95 % confidence interval of the p95; rough."""
    num_runs: Count
    """Timed calls that count."""
    num_dropped_runs: Count
    """Timed calls that do not count because the machine was not quiet."""
    attempts_p50_ms: tuple[Milliseconds, ...]
    """Medians of all attempts, in order; the middle one is certified."""
    stability: Fraction
    """Share of the calls that count, times p50 over p95: 1 where nothing disturbed a call and all
    took the same."""
    is_contended: bool
    """Whether the machine was never quiet for long enough: the figures are rough then."""
    is_warm: bool | None = None
    """Whether calls became no faster before they were timed; null of what was measured before it
    was noted, as in the figures below."""
    load_ms: Milliseconds | None = None
    """What the runtime, imported before, took to open the file."""
    first_call_ms: Milliseconds | None = None
    """What the first call after that took."""
    peak_memory_mb: Megabytes | None = None
    """Most memory that was resident until then: Python, the runtime and the network, the memory of
    a GPU not. Null where the system does not say, too."""
    network_memory_mb: Megabytes | None = None
    """Of it, what opening the file and the first call added."""
    file: str
    """The file that was measured."""
    file_digest: Digest
    budgets: tuple[BudgetCertificate, ...]


class SubnetCertificate(Document):
    """The answer of ``ofa-pipeline certificate``; its files were compared with their digests."""

    model_config = ConfigDict(title="the certificate of a subnet")

    source: str
    """``models:/NAME/VERSION``, or the folder of a bundle."""
    arch_id: str
    accuracy_top1: Fraction
    """Of the file that ships, on test images."""
    num_test_images: Count
    devices: tuple[DeviceCertificate, ...]
    bundle_digest: Digest
    files: dict[str, Digest]
    """SHA-256 of every file, as they were found and as they were registered."""
    issued: datetime | None
    """When it was registered; null of a folder, which says nothing of it."""
    expires: datetime | None
    is_expired: bool
    is_dated_ahead: bool = False
    """Whether it was registered ahead of the clock of who asks: one of two clocks is wrong, and
    whether it has expired cannot be told."""
    stale: str = ""
    """Why the device is another one by now, where that was found; it is measured again then."""
