"""Latency: device cards, runtimes, measurement, models and look-up tables.

Importing this package does not import torch or a runtime; using a device does.
"""

from ofa_pipeline.latency.design import design_subnets
from ofa_pipeline.latency.devices import (
    DeviceCard,
    DeviceSettings,
    RuntimeProbe,
    describe_device,
    probe_runtimes,
)
from ofa_pipeline.latency.export import (
    NETWORK_CODE,
    export_onnx,
    inference_form,
    write_network,
)
from ofa_pipeline.latency.measurement import LatencyMeasurement
from ofa_pipeline.latency.meter import Clock, LatencyMeter, ReferenceNetwork, quiet_reference_ms
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
from ofa_pipeline.latency.runtimes import LoadedNetwork, PreparedNetwork, Runtime, build_runtime

__all__ = [
    "NETWORK_CODE",
    "Clock",
    "DeviceCard",
    "DeviceSettings",
    "LatencyMeasurement",
    "LatencyMeter",
    "LatencyModel",
    "LatencyModelReport",
    "LatencyProfile",
    "LoadedNetwork",
    "PreparedNetwork",
    "ReferenceNetwork",
    "Runtime",
    "RuntimeProbe",
    "build_measured_subnet",
    "build_runtime",
    "describe_device",
    "design_subnets",
    "export_onnx",
    "inference_form",
    "load_latency_model",
    "load_latency_profile",
    "probe_runtimes",
    "quiet_reference_ms",
    "reference_arch",
    "report_errors",
    "resolve_budgets_ms",
    "save_latency_model",
    "save_profile_card",
    "write_network",
]
