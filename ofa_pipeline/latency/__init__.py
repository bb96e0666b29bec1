"""Latency: device cards, runtimes, measurement, models and look-up tables.

Importing this package does not import torch or a runtime; using a device does.
"""

from ofa_pipeline.latency.bench import LatencyBench, LatencyTask, Sample, plan_latency_tasks
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
from ofa_pipeline.latency.lookup_table import (
    LookupEntry,
    LookupTable,
    LookupTableModel,
    lookup_keys,
    read_lookup_table,
    read_lookup_tables,
    write_lookup_table,
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
from ofa_pipeline.latency.samples import (
    fit_profile,
    measurement_noise,
    profile_messages,
    sample_columns,
    samples_on_one_scale,
)

__all__ = [
    "NETWORK_CODE",
    "Clock",
    "DeviceCard",
    "DeviceSettings",
    "LatencyBench",
    "LatencyMeasurement",
    "LatencyMeter",
    "LatencyModel",
    "LatencyModelReport",
    "LatencyProfile",
    "LatencyTask",
    "LoadedNetwork",
    "LookupEntry",
    "LookupTable",
    "LookupTableModel",
    "PreparedNetwork",
    "ReferenceNetwork",
    "Runtime",
    "RuntimeProbe",
    "Sample",
    "build_measured_subnet",
    "build_runtime",
    "describe_device",
    "design_subnets",
    "export_onnx",
    "fit_profile",
    "inference_form",
    "load_latency_model",
    "load_latency_profile",
    "lookup_keys",
    "measurement_noise",
    "plan_latency_tasks",
    "probe_runtimes",
    "profile_messages",
    "quiet_reference_ms",
    "read_lookup_table",
    "read_lookup_tables",
    "reference_arch",
    "report_errors",
    "resolve_budgets_ms",
    "sample_columns",
    "samples_on_one_scale",
    "save_latency_model",
    "save_profile_card",
    "write_lookup_table",
    "write_network",
]
