"""Supernets and subnets as safetensors files that describe themselves."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import write_bytes
from ofa_pipeline.errors import ArchError, CheckpointError, ManifestMismatchError
from ofa_pipeline.supernet.build import Network, Subnet, Supernet, empty_subnet, empty_supernet

_SUPERNET = "ofa-pipeline supernet"
_SUBNET = "ofa-pipeline subnet"
_DESCRIPTION = "description"


def save_supernet(supernet: Supernet, path: Path) -> None:
    """Write weights, statistics, space, classes and dropout to one file, whole or not at all."""
    _save(supernet, path, {"kind": _SUPERNET, **_description(supernet)})


def load_supernet(path: Path) -> Supernet:
    """Read a supernet, in evaluation mode.

    Raises:
        CheckpointError: If the file is missing, is not one of `save_supernet`, or does not fit
            the network that it describes.
    """
    tensors, metadata = _read(path, kind=_SUPERNET)
    options = _options(path, metadata)
    return _fill(empty_supernet(**options), tensors, path).eval()


def check_supernet(
    supernet: Supernet, space: SearchSpace, *, num_classes: int, path: Path, remake: str
) -> None:
    """Check that a supernet is of the space and the classes that are wanted.

    Args:
        supernet: As it was read.
        space: The space that is wanted.
        num_classes: How many are wanted.
        path: Where it comes from, for the error message.
        remake: The command that trains it, for the error message.

    Raises:
        ManifestMismatchError: If it is not.
    """
    if supernet.space != space or supernet.num_classes != num_classes:
        raise ManifestMismatchError(
            f"{path} must hold a supernet of the space in params.yaml and of {num_classes} "
            f"classes; it is of another space or of {supernet.num_classes} classes. Train it "
            f"again: {remake}"
        )


def save_subnet(subnet: Subnet, path: Path) -> None:
    """Write weights, statistics, space, architecture, classes and dropout to one file.

    Raises:
        ValueError: If batch norm was folded: what is kept must be fit for calibration.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in subnet.modules()):
        raise ValueError("a folded subnet cannot be saved; save the one that it was folded from")
    arch = json.dumps(subnet.arch.to_dict(), sort_keys=True)
    _save(subnet, path, {"kind": _SUBNET, "arch": arch, **_description(subnet)})


def load_subnet(path: Path) -> Subnet:
    """Read a subnet, in evaluation mode.

    Raises:
        CheckpointError: If the file is missing, is not one of `save_subnet`, or does not fit
            the network that it describes.
    """
    tensors, metadata = _read(path, kind=_SUBNET)
    options = _options(path, metadata)
    try:
        network = empty_subnet(arch=Arch.from_dict(json.loads(metadata["arch"])), **options)
    except (KeyError, TypeError, AttributeError, ArchError, json.JSONDecodeError) as error:
        raise _not_ours(path, _SUBNET, error) from error
    return _fill(network, tensors, path).eval()


def _description(network: Supernet | Subnet) -> dict[str, str]:
    return {
        "space": json.dumps(network.space.to_dict(), sort_keys=True),
        "num_classes": str(network.num_classes),
        "dropout": repr(network.dropout),
    }


def _options(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        return {
            "space": SearchSpace.from_dict(json.loads(metadata["space"])),
            "num_classes": int(metadata["num_classes"]),
            "dropout": float(metadata["dropout"]),
        }
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise _not_ours(path, metadata["kind"], error) from error


def _save(network: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    # One entry, because safetensors writes several in random order.
    write_bytes(path, save(tensors, {_DESCRIPTION: json.dumps(metadata, sort_keys=True)}))


def _read(path: Path, *, kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(_DESCRIPTION, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} must be a file with an {kind}, but is missing") from error
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise _not_ours(path, kind, error) from error
    if not isinstance(metadata, dict):
        raise _not_ours(path, kind, f"its description is {type(metadata).__name__}")
    if metadata.get("kind") != kind:
        raise _not_ours(path, kind, f"its kind is {metadata.get('kind')!r}")
    return tensors, metadata


def _fill(network: Network, tensors: dict[str, Tensor], path: Path) -> Network:
    wanted = network.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - wanted.keys())
    misshapen = sorted(
        name for name in wanted.keys() & tensors.keys() if wanted[name].shape != tensors[name].shape
    )
    if missing or unexpected or misshapen:
        raise CheckpointError(
            f"{path} does not fit the network that it describes: missing {missing[:5]}, "
            f"unexpected {unexpected[:5]}, of another shape {misshapen[:5]}"
        )
    state = {
        name: tensor.contiguous(memory_format=torch.channels_last)
        if tensor.ndim == 4  # noqa: PLR2004 - (out, in, K, K)
        else tensor
        for name, tensor in tensors.items()
    }
    network.load_state_dict(state, assign=True)
    return network


def _not_ours(path: Path, kind: str, reason: object) -> CheckpointError:
    return CheckpointError(f"{path} must be a file with an {kind}, but cannot be read: {reason}")
