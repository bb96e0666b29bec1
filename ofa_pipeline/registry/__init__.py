"""The registry of subnets: the only importer of MLflow."""

from ofa_pipeline.documents import LatencyFigures
from ofa_pipeline.params import ANY_DATASET
from ofa_pipeline.registry.addresses import URI_VARIABLE, is_database
from ofa_pipeline.registry.choosing import HomeDataset, dataset_label, most_accurate
from ofa_pipeline.registry.mlflow_registry import MlflowRegistry
from ofa_pipeline.registry.protocol import Entry, RunNotes, SubnetRegistry, infeasible
from ofa_pipeline.registry.record import (
    RegisteredSubnet,
    SubnetRecord,
    budget_alias,
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
    "RegisteredSubnet",
    "RunNotes",
    "SubnetRecord",
    "SubnetRegistry",
    "budget_alias",
    "check_reachable",
    "dataset_label",
    "infeasible",
    "is_database",
    "most_accurate",
    "open_registry",
    "registered_model_name",
    "tracking_uri",
]
