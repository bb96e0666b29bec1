"""What a bundle must be, checked by the code that ships in it, without this package.

Every bundle's ``classify.py`` carries this file (`shipped_code`).
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ofa_pipeline.devices import file_in, network_classes
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError

FORMAT = 1
"""Format number of ``subnet.json``."""
IMAGE_DIMENSIONS = 3
"""Height, width, channels."""
MAX_SIDE_PX = 1024
"""Largest side of a dataset's images and of a network's input."""
MIN_STD = 1e-6
"""Smallest deviation of a channel; datasets have at least one gray level, 1 / 255."""
MAX_CLASSES = 1_000_000
MAX_DOCUMENT_BYTES = 64 * 2**20
MAX_FILE_BYTES = 2**30
"""Largest file of a bundle; networks take 1 to 150 MB."""
ONNX_ON_ONE_THREAD: dict[str, Any] = {
    "runtime": "onnxruntime",
    "file": "model.onnx",
    "accelerator": "cpu",
    "threads": 1,
    "precision": "fp32",
}
"""What bundles run that do not say it: those that were written first."""
MAX_THREADS = 1024
ELSEWHERE = "/\\:\x7f"
"""What a name of a file in the same folder has not, beside control characters."""
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def check_digests(folder: Path, names: Iterable[str]) -> None:
    """Compare files of a bundle with the SHA-256 that its card states.

    Args:
        folder: The bundle; without a ``card.json`` no digest is compared.
        names: Names of the files.

    Raises:
        MissingArtifactError: If a file is not there.
        ManifestMismatchError: If one was changed after it was written, or the card names a file
            elsewhere.
    """
    card = folder / "card.json"
    stated = _stated_digests(read_document(card)) if card.exists() else {}
    for name in stated:
        if name in ("", ".", "..") or any(sign in ELSEWHERE or sign < " " for sign in name):
            raise ManifestMismatchError(
                f"{card} must name files of the bundle, found {name[:60]!r}. Do not use it: fetch "
                "or build the bundle again"
            )
    for name in names:
        path = folder / name
        if not path.is_file():
            raise MissingArtifactError(
                f"{folder} must be a bundle, but holds no {name}. Bundles lie in "
                "artifacts/subnets/DEVICE/NAME, or come from: ofa-pipeline pull"
            )
        _check_size_of(path, MAX_FILE_BYTES)
        if name not in stated:
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != stated[name]:
            raise ManifestMismatchError(
                f"{path} was changed after it was written: its SHA-256 must begin "
                f"{stated[name][:12]}, as {card} states, found {found[:12]}. "
                "Fetch or build the bundle again"
            )


def _check_size_of(path: Path, most: int) -> None:
    size = path.stat().st_size
    if size > most:
        raise ManifestMismatchError(f"{path} must have at most {most:,} bytes, it has {size:,}")


def _stated_digests(card: dict[str, Any]) -> dict[str, str]:
    stated: dict[str, str] = {}
    latency, files = card.get("latency"), card.get("files")
    for figures in latency.values() if isinstance(latency, dict) else ():
        if isinstance(figures, dict) and isinstance(figures.get("file_digest"), str):
            stated[str(figures.get("file"))] = figures["file_digest"]
    if isinstance(files, dict):
        stated |= {name: digest for name, digest in files.items() if isinstance(digest, str)}
    return stated


def read_document(path: Path) -> dict[str, Any]:
    """Read a JSON object of a bundle.

    Raises:
        MissingArtifactError: If it is not there.
        ManifestMismatchError: If it is not JSON, is larger than a bundle's documents are, or is
            no object.
    """
    try:
        _check_size_of(path, MAX_DOCUMENT_BYTES)
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingArtifactError(
            f"{path} is missing: {path.parent} is not a whole bundle"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise ManifestMismatchError(f"{path} must be JSON, but cannot be read: {reason}") from error
    if not isinstance(value, dict):
        raise ManifestMismatchError(f"{path} must be a JSON object, got {str(value)[:60]}")
    return value


def check_description(description: dict[str, Any], path: Path) -> None:
    """Check what is used of ``subnet.json``: nothing of it may cost memory or answer nonsense.

    Raises:
        ManifestMismatchError: Naming the first value that is wrong.
    """
    names, arch = description.get("class_names"), description.get("arch")
    mean, std = description.get("mean"), description.get("std")
    resolution_px = arch.get("resolution_px") if isinstance(arch, dict) else None
    image_size_px = description.get("image_size_px")
    side = f"must be a whole number from 1 to {MAX_SIDE_PX}"
    runs = description.get("runs", {})
    runtime = (ONNX_ON_ONE_THREAD | runs)["runtime"] if isinstance(runs, dict) else ""
    number = description.get("format", FORMAT)
    other = f"must be {FORMAT}, or another version of this code wrote the bundle"
    for key, value, is_right, rule in (
        ("format", number, number == FORMAT, other),
        ("image_size_px", image_size_px, _is_side(image_size_px), side),
        ("arch.resolution_px", resolution_px, _is_side(resolution_px), side),
        ("mean", mean, _is_channels(mean, at_least=0), "must be three numbers from 0 to 1"),
        (
            "std",
            std,
            _is_channels(std, at_least=MIN_STD),
            f"must be three numbers from {MIN_STD:g} to 1",
        ),
        (
            "value_range",
            description.get("value_range"),
            _is_range(description.get("value_range")),
            "must be two finite numbers, the lower one first",
        ),
        ("class_names", names, _is_names(names), "must be a list of different texts"),
        (
            "runs.runtime",
            runtime,
            str(runtime) in network_classes(),
            f"must be one of {', '.join(network_classes())}",
        ),
        (
            "runs",
            runs,
            _is_runs(runs),
            "must name the file of its runtime, an accelerator and the threads",
        ),
        (
            "num_classes",
            description.get("num_classes"),
            description.get("num_classes", names and len(names)) == (names and len(names)),
            "must be the number of class_names",
        ),
    ):
        if not is_right:
            raise ManifestMismatchError(f"{path}: {key} {rule}, got {str(value)[:60]}")


def value_range_of(description: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the values of deep images that become 0 and 255, where the dataset set them."""
    values = description.get("value_range")
    return None if values is None else (float(values[0]), float(values[1]))


def _is_runs(runs: object) -> bool:
    if not isinstance(runs, dict):
        return False
    values = ONNX_ON_ONE_THREAD | runs
    runtime, threads = str(values["runtime"]), values["threads"]
    return (
        runtime in network_classes()
        and values["precision"] in PRECISIONS
        and values["file"] == file_in(values["precision"], network_classes()[runtime].file_name)
        and values["accelerator"] in ("cpu", "cuda")
        and isinstance(threads, int)
        and 1 <= threads <= MAX_THREADS
    )


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SIDE_PX


def _is_channels(values: object, *, at_least: float) -> bool:
    return (
        isinstance(values, list)
        and len(values) == IMAGE_DIMENSIONS
        and all(isinstance(v, int | float) and at_least <= v <= 1 for v in values)
    )


def _is_range(values: object) -> bool:
    return values is None or (
        isinstance(values, list)
        and len(values) == 2  # noqa: PLR2004 - low and high
        and all(isinstance(v, int | float) and math.isfinite(v) for v in values)
        and values[0] < values[1]
    )


def _is_names(names: object) -> bool:
    return (
        isinstance(names, list)
        and 1 <= len(names) <= MAX_CLASSES
        and all(isinstance(name, str) for name in names)
        and len(set(names)) == len(names)
    )
