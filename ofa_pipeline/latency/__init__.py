"""Latency: which subnets to measure, latency models and profiles."""

from ofa_pipeline.documents import LatencyModelReport
from ofa_pipeline.latency.bench import LatencyBench, LatencyTask, Sample, plan_latency_tasks
from ofa_pipeline.latency.design import POOL_SIZE, choose_rows, design_subnets
from ofa_pipeline.latency.drift import Canary, Drift, fit_drift
from ofa_pipeline.latency.elsewhere import ElsewhereBench
from ofa_pipeline.latency.fit import LatencyFit, fit_latency
from ofa_pipeline.latency.model import LatencyModel, load_latency_model, save_latency_model
from ofa_pipeline.latency.noise import QUIET_CV, MachineNoise, measure_noise, noise_of
from ofa_pipeline.latency.profile import (
    LatencyProfile,
    build_measured_subnet,
    load_latency_profile,
    reference_arch,
    resolve_budgets_ms,
    save_profile_card,
    stale_reasons,
)
from ofa_pipeline.latency.reporting import report_errors, report_selection
from ofa_pipeline.latency.samples import (
    fit_profile,
    measurement_noise,
    profile_messages,
    sample_columns,
    samples_on_one_scale,
)

__all__ = [
    "POOL_SIZE",
    "QUIET_CV",
    "Canary",
    "Drift",
    "ElsewhereBench",
    "LatencyBench",
    "LatencyFit",
    "LatencyModel",
    "LatencyModelReport",
    "LatencyProfile",
    "LatencyTask",
    "MachineNoise",
    "Sample",
    "build_measured_subnet",
    "choose_rows",
    "design_subnets",
    "fit_drift",
    "fit_latency",
    "fit_profile",
    "load_latency_model",
    "load_latency_profile",
    "measure_noise",
    "measurement_noise",
    "noise_of",
    "plan_latency_tasks",
    "profile_messages",
    "reference_arch",
    "report_errors",
    "report_selection",
    "resolve_budgets_ms",
    "sample_columns",
    "samples_on_one_scale",
    "save_latency_model",
    "save_profile_card",
    "stale_reasons",
]
