"""The document of a registration: what was registered under which name."""

import re

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


def budget_alias(budget_ms: float) -> str:
    """Return the alias of the version picked for a budget, for example ``best-450us``.

    Whole milliseconds read ``best-3ms``. MLflow allows no point in an alias.
    """
    microseconds = round(budget_ms * 1000)
    text = f"{microseconds // 1000}ms" if microseconds % 1000 == 0 else f"{microseconds}us"
    return re.sub(r"[^\w-]", "-", f"best-{text}")
