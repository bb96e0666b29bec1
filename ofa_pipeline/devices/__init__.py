"""Devices: what runs a network, the files it runs, and the meter of its latency.

Importing this package does not import torch or a runtime; using a device does.
"""

from ofa_pipeline.devices.device import Device, LocalDevice
from ofa_pipeline.devices.export import export_onnx, inference_form
from ofa_pipeline.devices.load import busy_cores
from ofa_pipeline.devices.machine import (
    DeviceSettings,
    RuntimeProbe,
    build_runtime,
    check_options,
    describe_device,
    probe_runtimes,
)
from ofa_pipeline.devices.meter import Clock, LatencyMeter, ReferenceNetwork, quiet_reference_ms
from ofa_pipeline.devices.process import ProcessDevice, open_device
from ofa_pipeline.devices.quantization import require_calibration_images
from ofa_pipeline.devices.quantized import QuantizedFiles
from ofa_pipeline.devices.quiet import torch_threads
from ofa_pipeline.devices.runtime import (
    CODE_FOLDER,
    FP32_TOLERANCE,
    MIN_CALIBRATION_IMAGES,
    LoadedNetwork,
    PreparedNetwork,
    RunningNetwork,
    Runtime,
    Tolerance,
    file_in,
    noise_images,
)
from ofa_pipeline.devices.runtimes import find_runtime, runtime_names
from ofa_pipeline.devices.shipped import FIRST_RUNTIME, network_classes, shipped_source
from ofa_pipeline.documents import DeviceCard, LatencyMeasurement

__all__ = [
    "CODE_FOLDER",
    "FIRST_RUNTIME",
    "FP32_TOLERANCE",
    "MIN_CALIBRATION_IMAGES",
    "Clock",
    "Device",
    "DeviceCard",
    "DeviceSettings",
    "LatencyMeasurement",
    "LatencyMeter",
    "LoadedNetwork",
    "LocalDevice",
    "PreparedNetwork",
    "ProcessDevice",
    "QuantizedFiles",
    "ReferenceNetwork",
    "RunningNetwork",
    "Runtime",
    "RuntimeProbe",
    "Tolerance",
    "build_runtime",
    "busy_cores",
    "check_options",
    "describe_device",
    "export_onnx",
    "file_in",
    "find_runtime",
    "inference_form",
    "network_classes",
    "noise_images",
    "open_device",
    "probe_runtimes",
    "quiet_reference_ms",
    "require_calibration_images",
    "runtime_names",
    "shipped_source",
    "torch_threads",
]
OPEN_MODULES = ("elsewhere",)
"""Devices elsewhere, which those who measure here need not know."""
