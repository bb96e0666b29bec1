"""Latency: which subnets to measure, latency models and profiles."""

from ofa_pipeline.documents import LatencyModelReport
from ofa_pipeline.latency.design import POOL_SIZE, design_subnets
from ofa_pipeline.latency.model import (
    LatencyModel,
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
    "POOL_SIZE",
    "LatencyModel",
    "LatencyModelReport",
    "LatencyProfile",
    "build_measured_subnet",
    "design_subnets",
    "load_latency_model",
    "load_latency_profile",
    "reference_arch",
    "report_errors",
    "resolve_budgets_ms",
    "save_latency_model",
    "save_profile_card",
]
