"""The registry of subnets: the only importer of MLflow."""

from ofa_pipeline.documents import LatencyFigures, budget_alias
from ofa_pipeline.params import ANY_DATASET
from ofa_pipeline.registry.addresses import URI_VARIABLE, default_address, is_database
from ofa_pipeline.registry.certificates import (
    Validity,
    as_told,
    certify_bundle,
    certify_version,
    doubts,
    stale_reason,
    validity_of,
)
from ofa_pipeline.registry.choosing import HomeDataset, dataset_label
from ofa_pipeline.registry.clocks import ahead_text, is_ahead
from ofa_pipeline.registry.comparison import ComparableSubnets, Explanation, accuracy_noise
from ofa_pipeline.registry.entries import ModelNames, read_entries
from ofa_pipeline.registry.fields import STALE_TAG
from ofa_pipeline.registry.first_run import first_run_rows
from ofa_pipeline.registry.lookups import Lookups, Snapshot
from ofa_pipeline.registry.mlflow_registry import MlflowRegistry
from ofa_pipeline.registry.notes import report_notes, run_notes
from ofa_pipeline.registry.parts import Part
from ofa_pipeline.registry.plain_files import is_plain_name
from ofa_pipeline.registry.promotion import Check, Promotion, Rank, plan_promotion, promote
from ofa_pipeline.registry.protocol import Entry, Origin, RunNotes, SubnetRegistry
from ofa_pipeline.registry.questions import Proof, Question
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
from ofa_pipeline.registry.signatures import Signature, check_signature, sign_version, signer_of
from ofa_pipeline.registry.workspace import open_registry

__all__ = [
    "ANY_DATASET",
    "STALE_TAG",
    "URI_VARIABLE",
    "Check",
    "ComparableSubnets",
    "Entry",
    "Explanation",
    "HomeDataset",
    "LatencyFigures",
    "Lookups",
    "MlflowRegistry",
    "ModelNames",
    "Origin",
    "Part",
    "Promotion",
    "Proof",
    "Question",
    "Rank",
    "RegisteredSubnet",
    "RunNotes",
    "Signature",
    "Snapshot",
    "SubnetRecord",
    "SubnetRegistry",
    "Validity",
    "accuracy_noise",
    "ahead_text",
    "as_told",
    "begin_registry",
    "budget_alias",
    "certify_bundle",
    "certify_version",
    "check_reachable",
    "check_registry",
    "check_signature",
    "dataset_label",
    "default_address",
    "doubts",
    "first_run_rows",
    "is_ahead",
    "is_database",
    "is_plain_name",
    "missing_from",
    "missing_receipts",
    "open_registry",
    "plan_promotion",
    "promote",
    "read_entries",
    "receipts_of",
    "registered_model_name",
    "registered_subnets",
    "report_notes",
    "run_notes",
    "sign_version",
    "signer_of",
    "stale_reason",
    "tracking_uri",
    "validity_of",
]
OPEN_MODULES = ("answers", "lineage", "origin")
"""What makes the documents of answers, for the commands with `--json` and the service; where a
version comes from."""
