"""Whether the exported file answers as the network that it was made from.

Legend: N images, K classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ofa_pipeline.arch import IntArray
from ofa_pipeline.devices import Tolerance, find_runtime
from ofa_pipeline.documents import ParityFigures
from ofa_pipeline.errors import ExportError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoAnswers:
    """Logits of the network and of the exported file on the same images."""

    network: NDArray[np.float32]
    """Shape (N, K)."""
    exported: NDArray[np.float32]
    """Shape (N, K)."""
    labels: IntArray
    """Shape (N,)."""

    def parity(self) -> ParityFigures:
        """Compare them."""
        difference = float(np.abs(self.network - self.exported).max())
        scale = float(np.abs(self.network).max())
        agreement = (self.network.argmax(axis=1) == self.exported.argmax(axis=1)).mean()
        return ParityFigures(
            max_abs_difference=difference,
            max_relative_difference=difference / max(scale, 1e-12),
            top1_agreement=float(agreement),
            num_images=len(self.labels),
        )


def answer_twice(
    network: nn.Module, onnx_file: Path, batches: Iterable[tuple[Tensor, Tensor]]
) -> TwoAnswers:
    """Run a network and its exported file over the same prepared images.

    Args:
        network: In inference form.
        onnx_file: Exported from it.
        batches: Images (N, 3, r, r) and labels (N,).

    Raises:
        ExportError: If there is no image to compare on.
    """
    onnx_network = find_runtime("onnxruntime").open(
        onnx_file.read_bytes(), accelerator="cpu", threads=torch.get_num_threads()
    )
    device = next(network.parameters()).device
    ours, exported, labels = [], [], []
    with torch.inference_mode():
        for images, truth in batches:
            ours.append(network(images.to(device)).float().cpu().numpy())
            exported.append(onnx_network(images.cpu().numpy()))
            labels.append(truth.cpu().numpy())
    if not labels:
        raise ExportError("parity needs images to compare on, the test split has none.")
    return TwoAnswers(
        network=np.concatenate(ours),
        exported=np.concatenate(exported),
        labels=np.concatenate(labels).astype(np.int64),
    )


def require_parity(parity: ParityFigures, tolerance: Tolerance, *, what: str) -> None:
    """Check that an export is faithful.

    Args:
        parity: What was found.
        tolerance: What is allowed.
        what: Was exported, for the message: "the ONNX file of ...".

    Raises:
        ExportError: If it is not.
    """
    if (
        parity.max_relative_difference <= tolerance.max_relative_difference
        and parity.top1_agreement >= tolerance.min_top1_agreement
    ):
        return
    raise ExportError(
        f"{what} must answer as its network (logits within "
        f"{tolerance.max_relative_difference:g} of the largest, the same class on "
        f"{tolerance.min_top1_agreement:.0%} of the images), found a difference of "
        f"{parity.max_relative_difference:.2g} and {parity.top1_agreement:.2%} on "
        f"{parity.num_images} test images. Check the versions of torch and of the runtime "
        "with: ofa-pipeline doctor"
    )


def top_k_accuracy(logits: NDArray[np.float32], labels: IntArray, *, k: int) -> float:
    """Return the fraction of images whose class is among the `k` most likely.

    Args:
        logits: Shape (N, K).
        labels: Shape (N,).
        k: At most K counts.
    """
    k = min(k, logits.shape[1])
    likely = np.argpartition(-logits, k - 1, axis=1)[:, :k]
    return float((likely == labels[:, None]).any(axis=1).mean())
