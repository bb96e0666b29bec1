"""The search of saved estimates: a front and picks from files, without a supernet or data."""

from ofa_pipeline.reference.offline.measured import MeasuredTable, read_column, read_measured_table
from ofa_pipeline.reference.offline.picks import EstimatedPick, EstimatedPicks
from ofa_pipeline.reference.offline.search import (
    PICKS_FILE,
    OfflineRequest,
    OfflineResult,
    search_offline,
)
from ofa_pipeline.reference.offline.sources import load_estimates

__all__ = [
    "PICKS_FILE",
    "EstimatedPick",
    "EstimatedPicks",
    "MeasuredTable",
    "OfflineRequest",
    "OfflineResult",
    "load_estimates",
    "read_column",
    "read_measured_table",
    "search_offline",
]
