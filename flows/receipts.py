"""What was registered from a workspace, and whether the registry still has it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import Layout, read_json
from ofa_pipeline.registry import MlflowRegistry, RegisteredSubnet, open_registry


def missing_receipts(root: Path, device: str) -> tuple[str, ...]:
    """Return the bundles of a device that the receipts claim and the registry lacks."""
    registry = open_registry(root)
    return tuple(
        receipt["bundle_digest"]
        for receipt in _receipts(root, device)
        if registry.find(model_name=receipt["model_name"], bundle_digest=receipt["bundle_digest"])
        is None
    )


def registered_subnets(
    root: Path, devices: Iterable[str], registry: MlflowRegistry
) -> list[RegisteredSubnet]:
    """Return what is registered of the current artifacts, in the order of devices and receipts."""
    found = [
        registry.find(model_name=receipt["model_name"], bundle_digest=receipt["bundle_digest"])
        for device in devices
        for receipt in _receipts(root, device)
    ]
    return [subnet for subnet in found if subnet is not None]


def _receipts(root: Path, device: str) -> list[dict[str, Any]]:
    path = Layout(root).registry(device) / "receipts.json"
    receipts: list[dict[str, Any]] = read_json(
        path, made_by=f"ofa-pipeline stage register --item {device}"
    )["receipts"]
    return receipts
