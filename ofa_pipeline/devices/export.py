"""From a network to its inference form, and to an ONNX model."""

from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.artifacts import write_bytes
from ofa_pipeline.errors import ExportError

if TYPE_CHECKING:
    from torch import nn

OPSET = 17
"""ONNX operator set: the first with everything we use natively and wide support."""
INPUT_NAME = "images"
OUTPUT_NAME = "logits"


def name_of(network: "nn.Module | Path") -> str:
    """Return what messages call a network: the file, or the subnet by its architecture."""
    if isinstance(network, Path):
        return str(network)
    arch = getattr(network, "arch", None)
    return "the network" if arch is None else f"subnet {arch.arch_id}"


def inference_form(network: "nn.Module") -> "nn.Module":
    """Return a copy that is fit to infer with: evaluation mode, batch norm folded into the weights.

    Args:
        network: A subnet; any other network is only copied and set to evaluation mode.
    """
    import copy

    from ofa_pipeline.supernet import Subnet, fold_batch_norm

    if isinstance(network, Subnet):
        return fold_batch_norm(network).eval()
    return copy.deepcopy(network).eval()


def onnx_bytes(network: "nn.Module", *, resolution_px: int) -> bytes:
    """Return an ONNX model of a network; the same bytes for the same network.

    Hard swish, hard sigmoid and global pooling stay single operators: written out as in the
    reference they are 1.36 times slower in ONNX Runtime. The batch is left to the caller of the
    file, which costs nothing in ONNX Runtime.

    Args:
        network: From images (N, 3, H, W) to logits; not changed.
        resolution_px: H and W.

    Raises:
        ExportError: If the network does something that no step says, or that ONNX has no operator
            for.
    """
    from ofa_pipeline.devices.onnx_file import onnx_model_bytes
    from ofa_pipeline.devices.steps import lower

    lowered = lower(network)
    try:
        return onnx_model_bytes(lowered, resolution_px=resolution_px)
    except ExportError as error:
        raise ExportError(
            f"{name_of(network)} must consist of what ONNX has operators for (opset {OPSET}), "
            f"but: {error}. Use other layers, or give the device the runtime pytorch."
        ) from error


def export_onnx(network: "nn.Module", path: Path, *, resolution_px: int) -> None:
    """Write an ONNX file of a network, whole or not at all.

    Args:
        network: From images (N, 3, H, W) to logits; not changed.
        path: Where the file is written.
        resolution_px: H and W.
    """
    write_bytes(path, onnx_bytes(network, resolution_px=resolution_px))
