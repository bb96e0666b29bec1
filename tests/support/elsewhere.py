"""Results of devices elsewhere: a clean environment to measure in, and times that are made up."""

import importlib.metadata
import json
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import digest_json
from ofa_pipeline.documents import MeasuringTask

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
