"""Latency: which subnets to measure, latency models, profiles and look-up tables."""

from ofa_pipeline.latency.design import design_subnets
from ofa_pipeline.latency.lookup_table import (
    LookupEntry,
    LookupTable,
    LookupTableModel,
    lookup_keys,
    read_lookup_table,
    read_lookup_tables,
    write_lookup_table,
)
from ofa_pipeline.latency.model import (
    LatencyModel,
    LatencyModelReport,
    load_latency_model,
    report_errors,
    save_latency_model,
)
from ofa_pipeline.latency.profile import (
    LatencyProfile,
    build_measured_subnet,
    load_latency_profile,
    reference_arch,
    resolve_budgets_ms,
    save_profile_card,
)

__all__ = [
    "LatencyModel",
    "LatencyModelReport",
    "LatencyProfile",
    "LookupEntry",
    "LookupTable",
    "LookupTableModel",
    "build_measured_subnet",
    "design_subnets",
    "load_latency_model",
    "load_latency_profile",
    "lookup_keys",
    "read_lookup_table",
    "read_lookup_tables",
    "reference_arch",
    "report_errors",
    "resolve_budgets_ms",
    "save_latency_model",
    "save_profile_card",
    "write_lookup_table",
]
