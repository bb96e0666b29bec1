"""Bundles with a whole card, and registries that hold them."""

from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import digest_file, write_json
from ofa_pipeline.registry import RegisteredSubnet
from tests.support.documents import card
from tests.support.registry import InMemoryRegistry, digest_of, subnet_record, write_bundle


def write_card(folder: Path, *, p50_ms: float = 1.0, **changes: Any) -> Path:
    """Give a bundle a card that names its files and what was measured of them.

    Args:
        folder: A bundle; its card is replaced.
        p50_ms: Median on the device ``cpu``.
        changes: Other values of the card.

    Returns:
        The folder.
    """
    (folder / "card.json").unlink()
    files = {path.name: digest_file(path) for path in folder.iterdir()}
    values = {**card(p50_ms=p50_ms).to_dict(), "files": files}
    values["latency"]["cpu"]["file_digest"] = files["model.onnx"]
    write_json(folder / "card.json", {**values, **changes})
    return folder


def write_certified_bundle(folder: Path, *, p50_ms: float = 1.0) -> Path:
    """Write a bundle that classifies, with a whole card."""
    return write_card(write_bundle(folder, runtime="onnxruntime"), p50_ms=p50_ms)


def register_certified(
    registry: InMemoryRegistry, bundle: Path, *, p50_ms: float = 1.0, **figures: Any
) -> RegisteredSubnet:
    """Register a bundle with the figures of its card.

    Args:
        registry: Takes it.
        bundle: As `write_certified_bundle` writes it.
        p50_ms: Median in its card.
        figures: Of the record, see `subnet_record`.
    """
    record = subnet_record(
        **{
            "bundle_digest": digest_of(bundle),
            "latency": {"cpu": card(p50_ms=p50_ms).latency["cpu"]},
            **figures,
        }
    )
    return registry.register(record, bundle)
