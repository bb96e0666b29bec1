"""The document of a registration: what was registered under which name."""

from pydantic import ConfigDict

from ofa_pipeline.documents.base import Document, Milliseconds, Part


class Receipt(Part):
    """A bundle that was registered."""

    bundle: str
    """Name of its folder."""
    bundle_digest: str
    model_name: str
    arch_id: str
    budgets_ms: tuple[Milliseconds, ...]


class Receipts(Document):
    """What was registered of a device, not where: versions differ between registries."""

    model_config = ConfigDict(title="receipts")

    device: str
    receipts: tuple[Receipt, ...]
