"""The registry of subnets: the only importer of MLflow."""

from ofa_pipeline.documents import LatencyFigures, budget_alias
from ofa_pipeline.params import ANY_DATASET
from ofa_pipeline.registry.addresses import URI_VARIABLE, is_database
from ofa_pipeline.registry.choosing import HomeDataset, dataset_label, most_accurate
from ofa_pipeline.registry.entries import ModelNames, read_entries, run_notes
from ofa_pipeline.registry.mlflow_registry import MlflowRegistry
from ofa_pipeline.registry.protocol import Entry, RunNotes, SubnetRegistry, infeasible
from ofa_pipeline.registry.receipts import (
    begin_registry,
    check_registry,
    missing_from,
    missing_receipts,
    receipts_of,
    registered_subnets,
)
from ofa_pipeline.registry.record import (
    RegisteredSubnet,
    SubnetRecord,
    registered_model_name,
)
from ofa_pipeline.registry.server import check_reachable, tracking_uri
from ofa_pipeline.registry.workspace import open_registry

__all__ = [
    "ANY_DATASET",
    "URI_VARIABLE",
    "Entry",
    "HomeDataset",
    "LatencyFigures",
    "MlflowRegistry",
    "ModelNames",
    "RegisteredSubnet",
    "RunNotes",
    "SubnetRecord",
    "SubnetRegistry",
    "begin_registry",
    "budget_alias",
    "check_reachable",
    "check_registry",
    "dataset_label",
    "infeasible",
    "is_database",
    "missing_from",
    "missing_receipts",
    "most_accurate",
    "open_registry",
    "read_entries",
    "receipts_of",
    "registered_model_name",
    "registered_subnets",
    "run_notes",
    "tracking_uri",
]
