"""The folder that is measured elsewhere: networks, the script, and what there is to measure."""

import inspect
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline import cores
from ofa_pipeline.artifacts import Layout, digest_file, digest_json, write_bytes, write_json
from ofa_pipeline.devices import machine
from ofa_pipeline.devices.machine import DeviceSettings, check_options
from ofa_pipeline.devices.runtime import CODE_FOLDER, Runtime, noise_images
from ofa_pipeline.devices.runtimes import find_runtime
from ofa_pipeline.documents import (
    Awaited,
    CardElsewhere,
    DeviceCard,
    MeasurementSettings,
    MeasuringTask,
    NetworkElsewhere,
)
from ofa_pipeline.errors import DeviceError

if TYPE_CHECKING:
    from torch import nn

SCRIPT = "measure.py"
PHONE_SCRIPT = "phone.py"
RUNTIME_FILE = "runtime.py"
NETWORKS = "networks"
GUIDE = "README.txt"
_UNFINISHED = ".exporting"
"""In a folder that is being written; one that was interrupted is written anew."""
_CODE_OF_SCRIPT = (
    Path(cores.__file__),
    CODE_FOLDER / "exported.py",
    CODE_FOLDER / "fresh_load.py",
    CODE_FOLDER / "installing.py",
    CODE_FOLDER / "load.py",
    CODE_FOLDER / "turn.py",
    CODE_FOLDER / "undisturbed.py",
    CODE_FOLDER / "warm_up.py",
)
"""Files that the script imports."""
_PIP = "pip install"

_BEFORE = '''"""What runs the networks, the class that bundles carry; and what this machine is."""

from __future__ import annotations

import ctypes
import importlib.metadata
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

PACKAGE = {package!r}
HOW_TO_GET = {how_to_get!r}

try:
    import numpy as np
except ModuleNotFoundError as error:  # the runtime may be missing, too
    raise ModuleNotFoundError({how_to_get_both!r}, name=error.name) from error


'''
_GUIDE = """{count} networks to measure for the device {device}: {card.runtime}, {card.accelerator}.

1. Copy this folder to the machine that is to be measured, whole.
2. There, with Python 3.9 or newer: {how_to_get}; numpy comes with it or by pip install numpy
3. When nothing else runs there: python measure.py
   It shows its progress. Stopped, it goes on where it was. All of it must run on one machine.
4. Bring the file result-*.json back:
   ofa-pipeline device import {device} FILE
"""
_GUIDE_PHONE = """
Or on an Android phone without Python, from a machine that it is connected to by adb:
   python phone.py --tool benchmark_model
   with the runtime's own tool for the processor of the phone. The rest is the same.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkToMeasure:
    """A network, and the measurements that are wanted of it."""

    keys: tuple[str, ...]
    """Names of the measurements."""
    network: "nn.Module | Path"
    """From images (N, 3, H, W) to logits, or a file that the runtime wrote."""
    resolution_px: int
    macs: int


def write_folder(
    folder: Path,
    networks: Sequence[NetworkToMeasure],
    *,
    device: str,
    awaited: Awaited,
    settings: DeviceSettings,
    measurement: MeasurementSettings,
) -> MeasuringTask:
    """Write what is to be measured elsewhere, and return what its manifest says.

    Args:
        folder: Where to; made. Empty before, or what an interrupted export left.
        networks: The first is the one that all are compared with.
        device: Name of the device.
        awaited: What it is measured for, and what the machine must be.
        settings: Runtime and settings of the device; the runtime need not run here.
        measurement: How often each is called.

    Raises:
        DeviceError: If the folder is not empty, or the runtime does not know an option.
        ExportError: If the runtime cannot say what a network does.
    """
    check_options(settings)
    unfinished = folder / _UNFINISHED
    if unfinished.exists():
        shutil.rmtree(folder / NETWORKS, ignore_errors=True)
    elif folder.exists() and any(folder.iterdir()):
        raise DeviceError(
            f"the folder to export to must be new or empty, but {folder} holds "
            f"{next(folder.iterdir()).name}. Name another one, or remove what is there."
        )
    folder.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    card = CardElsewhere(
        runtime=settings.runtime,
        accelerator=settings.accelerator,
        precision=settings.precision,
        threads=settings.threads,
        batch_size=settings.batch_size,
        pinning=settings.pinning,
        options=settings.options,
    )
    reference, *others = (_write_network(folder, one, settings) for one in networks)
    contents = {
        "device": device,
        "round": awaited.round,
        "card": card.to_dict(),
        **({"profiled_on": must_be.to_dict()} if (must_be := awaited.profiled_on) else {}),
        "measurement": measurement.to_dict(),
        "reference": reference[0].to_dict(),
        "networks": [network.to_dict() for each in others for network in each],
    }
    task = MeasuringTask.from_dict({"format": 1, "id": digest_json(contents), **contents})
    _write_script(folder, task)
    write_json(folder / Layout.MANIFEST, task.to_dict())  # last: a folder with it is whole
    unfinished.unlink()
    return task


def result_name(task: MeasuringTask) -> str:
    """Return the name of the file that the script writes into the folder of a task."""
    return f"result-{task.device}-{task.id[:8]}.json"


def _write_network(
    folder: Path, wanted: NetworkToMeasure, settings: DeviceSettings
) -> list[NetworkElsewhere]:
    """Write the file of a network, named after its content; return a row a measurement."""
    runtime = find_runtime(settings.runtime)
    content = (
        runtime(_unknown_card(settings))
        .prepare(wanted.network, resolution_px=wanted.resolution_px)
        .content
    )
    writing = folder / NETWORKS / "writing"
    write_bytes(writing, content)
    digest = digest_file(writing)
    file = f"{NETWORKS}/{digest[:12]}{Path(runtime.network.file_name).suffix}"
    writing.replace(folder / file)
    return [
        NetworkElsewhere(
            key=key,
            file=file,
            sha256=digest,
            resolution_px=wanted.resolution_px,
            macs=wanted.macs,
        )
        for key in wanted.keys
    ]


def _unknown_card(settings: DeviceSettings) -> DeviceCard:
    """Return the card of a device of which only the settings are known."""
    return DeviceCard(
        runtime=settings.runtime,
        runtime_version="",
        accelerator=settings.accelerator,
        hardware="",
        precision=settings.precision,
        threads=settings.threads,
        batch_size=settings.batch_size,
        pinning=settings.pinning,
        options=settings.options,
    )


def _write_script(folder: Path, task: MeasuringTask) -> None:
    """Write the script and all that it needs besides the runtime."""
    runtime, card = find_runtime(task.card.runtime), task.card
    shutil.copyfile(Path(__file__).with_name(SCRIPT), folder / SCRIPT)
    for path in (*_CODE_OF_SCRIPT, *(CODE_FOLDER / name for name in runtime.network.code_names)):
        shutil.copyfile(path, folder / path.name)
    write_bytes(folder / RUNTIME_FILE, runtime_source(runtime, card.accelerator).encode())
    guide = _GUIDE.format(
        device=task.device,
        count=len(task.networks),
        card=card,
        how_to_get=_how_to_get(runtime, card.accelerator),
    )
    if runtime.phone_script is not None:
        shutil.copyfile(Path(__file__).with_name(runtime.phone_script), folder / PHONE_SCRIPT)
        guide += _GUIDE_PHONE
    write_bytes(folder / GUIDE, guide.encode())


def runtime_source(runtime: type[Runtime], accelerator: str) -> str:
    """Return the source of what runs the networks elsewhere: the class that ships, as it is."""
    parts = (
        machine.processor_model,
        machine.clock_governor,
        machine.gpu_driver,
        machine.gpu_model,
        machine.installed_version,
        noise_images,
        runtime.network,
    )
    how_to_get = _how_to_get(runtime, accelerator)
    rest = how_to_get.removeprefix(_PIP)
    before = _BEFORE.format(
        package=runtime.package,
        how_to_get=how_to_get,
        how_to_get_both=f"{_PIP} numpy" if rest == how_to_get else f"{_PIP} numpy{rest}",
    )
    source = "\n\n".join(inspect.getsource(part) for part in parts)
    return f"{before}{source}\n\nNETWORK = {runtime.network.__name__}\n"


def _how_to_get(runtime: type[Runtime], accelerator: str) -> str:
    """Say how to install a runtime where this package is not."""
    if accelerator == "cpu":
        return f"{_PIP} {' '.join(runtime.requirements)}"
    return runtime.how_to_get.get(accelerator, f"install {runtime.package}")
