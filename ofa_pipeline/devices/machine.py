"""This machine as a device: which runtimes work here, and the card of one with its settings."""

import ctypes
import importlib.metadata
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ofa_pipeline.cores import usable_cores
from ofa_pipeline.devices.quiet import allowed_cores
from ofa_pipeline.devices.runtime import Runtime
from ofa_pipeline.devices.runtimes import find_runtime, runtime_names
from ofa_pipeline.documents import DeviceCard
from ofa_pipeline.errors import DeviceError, shorten, suggest


class DeviceSettings(Protocol):
    """What params.yaml says of a device: the runtime and its settings."""

    @property
    def runtime(self) -> str:
        """Name of a file in ``devices/runtimes``."""

    @property
    def accelerator(self) -> str:
        """One that the runtime computes on: ``cpu`` or ``cuda``."""

    @property
    def precision(self) -> str:
        """One that the runtime computes in, such as ``fp32``."""

    @property
    def threads(self) -> int:
        """CPU threads that one call computes with."""

    @property
    def batch_size(self) -> int:
        """Images a call."""

    @property
    def pinning(self) -> tuple[int, ...] | None:
        """Cores that a measurement may use; None: the idlest one, or any for several threads."""

    @property
    def options(self) -> dict[str, bool | str] | None:
        """Of the runtime, by its own names; None: those that it has without being told."""

    @property
    def location(self) -> str | None:
        """``away``, ``ssh://USER@HOST:PORT`` or ``ray://RESOURCE``; None: this machine."""

    @property
    def python(self) -> str | None:
        """What runs the measuring script elsewhere; None: ``python3``, or that of Ray."""

    @property
    def measured(self) -> str | None:
        """How the SHA-256 of what was measured away begins; None where nothing was yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeProbe:
    """A runtime on an accelerator, and how to get it where it does not work."""

    name: str
    """Runtime and accelerator, for example ``onnxruntime cpu``."""
    version: str
    """Empty where the package is not installed."""
    is_available: bool
    how_to_get: str
    """Empty where it is available."""


def probe_runtimes() -> list[RuntimeProbe]:
    """Return every runtime that a device may name, and whether it works here."""
    probes = []
    for name in runtime_names():
        runtime = find_runtime(name)
        for accelerator, how_to_get in runtime.how_to_get.items():
            works = is_usable(runtime, accelerator)
            probes.append(
                RuntimeProbe(
                    name=f"{name} {accelerator}",
                    version=installed_version(runtime.package),
                    is_available=works,
                    how_to_get="" if works else how_to_get,
                )
            )
    return probes


def build_runtime(settings: DeviceSettings) -> Runtime:
    """Return the runtime of a device of this machine.

    Raises:
        DeviceError: If the machine cannot serve the settings; the message says what to do.
    """
    return find_runtime(settings.runtime)(describe_device(settings))


def describe_device(settings: DeviceSettings) -> DeviceCard:
    """Return the card of a device of this machine.

    Raises:
        DeviceError: If the machine cannot serve the settings, or they are of another one; the
            message says what to do.
    """
    runtime = find_runtime(settings.runtime)
    if settings.location is not None:
        raise DeviceError(
            f"this command measures on this machine, but the device is elsewhere "
            f"({settings.location}). Its card comes with its measurements."
        )
    _check(settings, runtime)
    hardware = processor_model() if settings.accelerator == "cpu" else gpu_model()
    return DeviceCard(
        runtime=settings.runtime,
        runtime_version=installed_version(runtime.package),
        accelerator=settings.accelerator,
        hardware=hardware,
        precision=settings.precision,
        threads=settings.threads,
        batch_size=settings.batch_size,
        pinning=settings.pinning,
        options=settings.options,
        governor=clock_governor(),
        driver=gpu_driver() if settings.accelerator != "cpu" else None,
        cores=usable_cores() if settings.accelerator == "cpu" else None,
    )


def check_options(settings: DeviceSettings) -> None:
    """Check that the runtime of a device knows its options, and the values of each.

    Raises:
        DeviceError: If not; the message lists those that it knows.
    """
    known = find_runtime(settings.runtime).options
    listed = "; ".join(f"{name}: {_listed(values)}" for name, values in known.items())
    if settings.options is not None and not settings.options:
        raise DeviceError("options of a device must hold one at least. Leave it out.")
    for name, value in (settings.options or {}).items():
        if name not in known:
            raise DeviceError(
                f"options of a device with the runtime {settings.runtime} must be among those "
                f"that it knows ({listed or 'none'}), got {shorten(name)!r}."
                f"{suggest(name, tuple(known))}"
            )
        if value not in known[name]:
            raise DeviceError(
                f"option {name} of a device with the runtime {settings.runtime} must be one of "
                f"{_listed(known[name])}, got {shorten(_written(value))}."
            )


def _listed(values: tuple[bool | str, ...]) -> str:
    return ", ".join(map(_written, values))


def _written(value: bool | str) -> str:
    """Return a value as params.yaml has it."""
    return str(value).lower() if isinstance(value, bool) else value


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


def clock_governor() -> str | None:
    """Return what sets the clock of the CPU; None where the system does not say, as in many VMs."""
    found = sorted(Path("/sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_governor"))
    governors = sorted({path.read_text().strip() for path in found})
    return " and ".join(governors) or None


def gpu_model() -> str:
    """Return the name of the first GPU that this process may compute on, as CUDA gives it."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "GPU"
    name, device = ctypes.create_string_buffer(256), ctypes.c_int()
    failed = (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(device), 0)
        or cuda.cuDeviceGetName(name, len(name), device)
    )
    return "GPU" if failed else name.value.decode()


def gpu_driver() -> str | None:
    """Return the version of NVIDIA's kernel module, as ``NVRM version: ... 580.95.05 ...``."""
    path = Path("/proc/driver/nvidia/version")
    found = re.search(r"\d+\.\d+(?:\.\d+)*", path.read_text()) if path.exists() else None
    return found[0] if found else None


def _check(settings: DeviceSettings, runtime: type[Runtime]) -> None:
    for name, found, known in (
        ("accelerator", settings.accelerator, tuple(runtime.how_to_get)),
        ("precision", settings.precision, runtime.precisions(settings.accelerator)),
    ):
        if found not in known:
            raise DeviceError(
                f"{name} of a device with the runtime {settings.runtime} must be one of "
                f"{', '.join(known)}, got {found!r}.{suggest(found, known)}{_others(found)}"
            )
    check_options(settings)
    cores = usable_cores()
    if not 1 <= settings.threads <= cores:
        raise DeviceError(
            f"threads of a device must be 1 to {cores}, the cores that this process may use, got "
            f"{settings.threads}: more would wait for each other. Lower it in params.yaml."
        )
    if missing := sorted({*(settings.pinning or ())} - allowed_cores()):
        raise DeviceError(
            f"pinning of a device must name cores that this process may use, which are "
            f"{', '.join(map(str, sorted(allowed_cores()))) or 'not to be chosen here'}, got "
            f"{', '.join(map(str, missing))}. Name others in params.yaml, or leave pinning out."
        )
    if settings.batch_size < 1:
        raise DeviceError(f"batch_size of a device must be at least 1, got {settings.batch_size}")
    if not is_usable(runtime, settings.accelerator):
        usable = ", ".join(probe.name for probe in probe_runtimes() if probe.is_available)
        raise DeviceError(
            f"{settings.runtime} on {settings.accelerator} is not usable here. To get it: "
            f"{runtime.how_to_get[settings.accelerator]}. Usable: {usable or 'none'}."
        )


def _others(precision: str) -> str:
    """Say which runtimes compute in a precision; nothing where none does."""
    others = [name for name in runtime_names() if precision in find_runtime(name).precisions("cpu")]
    return f" Runtimes with {precision} on cpu: {', '.join(others)}." if others else ""


def is_usable(runtime: type[Runtime], accelerator: str) -> bool:
    """Tell whether a runtime is installed and can compute on an accelerator of this machine.

    And whether its files can be written here: the network that all are compared with is one.
    """
    if not installed_version(runtime.package) or (accelerator == "cuda" and not _may_have_gpu()):
        return False
    return runtime.can_write() and runtime.network.supports(accelerator)


def _may_have_gpu() -> bool:
    """Whether a driver of a GPU is here: without one, no runtime need be imported to say no.

    PyTorch calls the GPUs of AMD ``cuda``, too.
    """
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()
    return True


def installed_version(package: str) -> str:
    """Return the version of a package, or of its build for GPUs; empty where neither is there."""
    for name in (package, f"{package}-gpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""
