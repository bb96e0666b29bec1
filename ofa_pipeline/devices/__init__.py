"""Devices: what runs a network, the files it runs, and the meter of its latency.

Importing this package does not import torch or a runtime; using a device does.
"""

from ofa_pipeline.devices.card import (
    DeviceSettings,
    RuntimeProbe,
    describe_device,
    probe_runtimes,
)
from ofa_pipeline.devices.export import (
    NETWORK_CODE,
    export_onnx,
    inference_form,
    write_network,
)
from ofa_pipeline.devices.meter import Clock, LatencyMeter, ReferenceNetwork, quiet_reference_ms
from ofa_pipeline.devices.quiet import torch_threads
from ofa_pipeline.devices.runtimes import (
    LoadedNetwork,
    PreparedNetwork,
    Runtime,
    build_runtime,
    noise_images,
)
from ofa_pipeline.documents import DeviceCard, LatencyMeasurement

__all__ = [
    "NETWORK_CODE",
    "Clock",
    "DeviceCard",
    "DeviceSettings",
    "LatencyMeasurement",
    "LatencyMeter",
    "LoadedNetwork",
    "PreparedNetwork",
    "ReferenceNetwork",
    "Runtime",
    "RuntimeProbe",
    "build_runtime",
    "describe_device",
    "export_onnx",
    "inference_form",
    "noise_images",
    "probe_runtimes",
    "quiet_reference_ms",
    "torch_threads",
    "write_network",
]

OPEN_MODULES = ("network",)
"""What is copied into bundles, and needs torch."""
