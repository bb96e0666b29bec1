"""The document of a search of saved estimates: the best subnet within each budget."""

from pydantic import ConfigDict

from ofa_pipeline.arch import Arch
from ofa_pipeline.documents import Document, Part


class EstimatedPick(Part):
    """The best subnet within one budget, by estimate."""

    budget_ms: float
    arch_id: str
    arch: Arch
    accuracy_top1_estimated: float
    accuracy_std_estimated: float
    latency_ms_estimated: float
    macs: int
    num_params: int
    price_points_per_ms: float
    """Percentage points of accuracy that one more millisecond would buy."""
    runner_up: Arch | None
    runner_up_accuracy_top1_estimated: float | None
    gap_points: float | None
    """Upper bound of the distance to the best possible accuracy, in percentage points; None where
    accuracy or latency is not a sum over blocks, so that no bound can be proved."""


class EstimatedPicks(Document):
    """What a search of saved estimates found; nothing in it was measured."""

    model_config = ConfigDict(title="the picks of a search of saved estimates")

    picks: tuple[EstimatedPick, ...]
    """By budget, ascending."""
