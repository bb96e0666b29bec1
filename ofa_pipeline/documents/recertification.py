"""Whether a device still is what it was certified to be: its files, measured again."""

from pydantic import ConfigDict

from ofa_pipeline.documents.base import Document, Milliseconds, Part


class CanaryFigures(Part):
    """A certified file that was measured again."""

    name: str
    """Its bundle."""
    certified_ms: Milliseconds
    measured_ms: Milliseconds
    """Median on the scale of the certificate: a ratio to the reference network."""
    is_contended: bool


class Recertification(Document):
    """The answer of ``ofa-pipeline recertify``."""

    model_config = ConfigDict(title="a device that was certified, measured again")

    device: str
    canaries: tuple[CanaryFigures, ...]
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
