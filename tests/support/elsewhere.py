"""Results of devices elsewhere: a clean environment to measure in, and times that are made up."""

import importlib.metadata
import json
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import digest_json
from ofa_pipeline.devices.elsewhere import card_of
from ofa_pipeline.documents import (
    Awaited,
    AwaitedFile,
    MeasuringResult,
    MeasuringTask,
    SeenDevice,
    WaitingRun,
)
from tests.support.synthetic import tiny_space

MACHINE: dict[str, Any] = {
    "runtime_version": "1.2.3",
    "hardware": "ARM Cortex-X9",
    "governor": "performance",
    "driver": None,
    "machine": "0123456789",
}
REFERENCE_MS = 0.5


def clean_python(folder: Path, packages: Sequence[str]) -> Path:
    """Return a Python that has some of the installed packages, and no other."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for package in packages:
        for file in importlib.metadata.files(package) or ():
            top = file.parts[0]
            found = Path(str(file.locate())).parents[len(file.parts) - 2]
            if top not in ("..", "bin") and len(file.parts) > 1 and not (site / top).exists():
                (site / top).symlink_to(found)
    return folder / "bin" / "python"


def result_of(
    task: MeasuringTask, latency_ms: Callable[[str], float], **machine: Any
) -> dict[str, Any]:
    """Return what the script would have written, with made-up times and without its digest.

    Args:
        task: What was exported.
        latency_ms: Returns the latency of a network by its key.
        machine: What differs from `MACHINE`.
    """
    card = {**MACHINE, **machine}

    def visit(ms: float) -> dict[str, Any]:
        return {"ns": [round(1e6 * ms)] * 3, "cpu_ns": round(1e6 * ms)}

    def session(key: str) -> dict[str, Any]:
        return {
            "network": [visit(latency_ms(key))] * 15,
            "reference": [visit(REFERENCE_MS)] * 16,
            "load_ns": 10**7,
            "first_call_ns": 10**6,
        }

    rows = [
        {
            "key": network.key,
            "sha256": network.sha256,
            "task": task.id,
            "card": dict(card),
            "sessions": [session(network.key)] * 2,
            "seconds": 0.1,
        }
        for network in task.networks
    ]
    return {"format": 1, "task": task.to_dict(), "card": card, "rows": rows}


def write_result(path: Path, result: dict[str, Any]) -> Path:
    """Write a result with its digest."""
    path.write_text(json.dumps({**result, "digest": digest_json(result)}))
    return path


def sample_task() -> MeasuringTask:
    """Return a task of one network."""
    network = {"file": "networks/a.onnx", "sha256": "0" * 64, "resolution_px": 16, "macs": 1000}
    return MeasuringTask.from_dict(
        {
            "id": "1" * 64,
            "device": "phone",
            "round": "search",
            "card": {
                "runtime": "onnxruntime",
                "accelerator": "cpu",
                "precision": "fp32",
                "threads": 1,
                "batch_size": 1,
            },
            "measurement": {"warmup_runs": 1, "timed_runs": 4},
            "reference": {"key": "reference", **network},
            "networks": [{"key": "a", **network}],
        }
    )


def sample_result() -> MeasuringResult:
    """Return what came back of it."""
    result = result_of(sample_task(), lambda _: 1.0)
    return MeasuringResult.from_dict({**result, "digest": digest_json(result)})


def sample_seen() -> SeenDevice:
    """Return what a host was when it was asked."""
    return SeenDevice(location="ssh://me@host", card=card_of(sample_result()))


def sample_awaited() -> Awaited:
    """Return what a stage waits for: a subnet, and a file."""
    arch = tiny_space().smallest
    file = AwaitedFile(path="scratch/model.onnx", sha256="0" * 64, arch=arch)
    return Awaited(round="ship", archs=(arch,), files=(file,))


def sample_waiting_run() -> WaitingRun:
    """Return a run that waits for two devices."""
    return WaitingRun(
        flow_run="01a21b68-2448-7879-8597-9faec3733d30",
        name="flowers: phone, board",
        server="http://127.0.0.1:4200/api",
        devices=("phone", "board"),
    )
