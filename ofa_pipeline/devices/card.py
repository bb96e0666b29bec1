"""Device cards: what runs a network, precisely enough that a latency means something."""

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ofa_pipeline.cores import usable_cores
from ofa_pipeline.documents import DeviceCard
from ofa_pipeline.errors import DeviceError, suggest

RUNTIMES: Mapping[str, str] = {"pytorch": "torch", "onnxruntime": "onnxruntime"}
"""Python package of each runtime."""
ACCELERATORS = ("cpu", "cuda")
PRECISIONS = ("fp32",)

_HOW_TO_GET = {
    ("pytorch", "cpu"): "pip install torch",
    ("pytorch", "cuda"): "install a CUDA build of torch and an NVIDIA driver",
    ("onnxruntime", "cpu"): "pip install onnxruntime",
    ("onnxruntime", "cuda"): "pip install onnxruntime-gpu, with CUDA and an NVIDIA driver",
}


class DeviceSettings(Protocol):
    """What params.yaml says of a device: the runtime and its settings."""

    @property
    def runtime(self) -> str:
        """Key of `RUNTIMES`."""

    @property
    def accelerator(self) -> str:
        """One of `ACCELERATORS`."""

    @property
    def precision(self) -> str:
        """One of `PRECISIONS`."""

    @property
    def threads(self) -> int:
        """CPU threads that one call computes with."""

    @property
    def batch_size(self) -> int:
        """Images a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeProbe:
    """Whether a runtime can be used here."""

    name: str
    """Runtime and accelerator, for example ``onnxruntime cpu``."""
    version: str
    """Empty where the package is not installed."""
    is_available: bool
    how_to_get: str
    """Empty where it is available."""


def probe_runtimes() -> list[RuntimeProbe]:
    """Return every runtime that a device card may name, and whether it works here."""
    probes = []
    for runtime, package in RUNTIMES.items():
        version = _installed_version(package)
        for accelerator in ACCELERATORS:
            works = bool(version) and _supports(runtime, accelerator)
            probes.append(
                RuntimeProbe(
                    name=f"{runtime} {accelerator}",
                    version=version,
                    is_available=works,
                    how_to_get="" if works else _HOW_TO_GET[runtime, accelerator],
                )
            )
    return probes


def describe_device(settings: DeviceSettings) -> DeviceCard:
    """Return the card of a device of this machine.

    Raises:
        DeviceError: If the machine cannot serve the settings; the message says what to do.
    """
    _check(settings)
    hardware = processor_model() if settings.accelerator == "cpu" else _gpu_model()
    return DeviceCard(
        runtime=settings.runtime,
        runtime_version=_installed_version(RUNTIMES[settings.runtime]),
        accelerator=settings.accelerator,
        hardware=hardware,
        precision=settings.precision,
        threads=settings.threads,
        batch_size=settings.batch_size,
    )


def processor_model() -> str:
    """Return the name of the CPU as its maker gives it, with family and model where known."""
    fields: dict[str, str] = {}
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    name = fields.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in fields:
        return f"{name} (family {fields['cpu family']}, model {fields.get('model', '?')})"
    return name


def _check(settings: DeviceSettings) -> None:
    for name, found, known in (
        ("runtime", settings.runtime, tuple(RUNTIMES)),
        ("accelerator", settings.accelerator, ACCELERATORS),
        ("precision", settings.precision, PRECISIONS),
    ):
        if found not in known:
            raise DeviceError(
                f"{name} of a device must be one of {', '.join(known)}, got {found!r}."
                f"{suggest(found, known)}"
            )
    cores = usable_cores()
    if not 1 <= settings.threads <= cores:
        raise DeviceError(
            f"threads of a device must be 1 to {cores}, the cores that this process may use, got "
            f"{settings.threads}: more would wait for each other. Lower it in params.yaml."
        )
    if settings.batch_size < 1:
        raise DeviceError(f"batch_size of a device must be at least 1, got {settings.batch_size}")
    version = _installed_version(RUNTIMES[settings.runtime])
    if not version or not _supports(settings.runtime, settings.accelerator):
        usable = ", ".join(probe.name for probe in probe_runtimes() if probe.is_available)
        raise DeviceError(
            f"{settings.runtime} on {settings.accelerator} is not usable here. To get it: "
            f"{_HOW_TO_GET[settings.runtime, settings.accelerator]}. Usable: {usable or 'none'}."
        )


def _installed_version(package: str) -> str:
    for name in (package, f"{package}-gpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _supports(runtime: str, accelerator: str) -> bool:
    if accelerator == "cpu":
        return True
    if runtime == "pytorch":
        import torch

        return torch.cuda.is_available()
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _gpu_model() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CUDA GPU"
