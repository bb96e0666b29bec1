"""Predictions of a network on a split, and what they are worth.

Legend: N images, K classes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ofa_pipeline.compute import copied_to
from ofa_pipeline.data import Normalization, Split
from ofa_pipeline.data.transforms import resize_normalize


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """What a network says of a set of images."""

    logits: Tensor
    """Shape (N, K), float32, on the CPU."""
    labels: Tensor
    """Shape (N,)."""

    @property
    def predicted(self) -> Tensor:
        """The most likely class, shape (N,)."""
        return self.logits.argmax(dim=1)

    @property
    def correct(self) -> Tensor:
        """Whether the most likely class is right, shape (N,)."""
        return self.predicted == self.labels

    @property
    def accuracy_top1(self) -> float:
        """Fraction of images whose most likely class is right."""
        return float(self.correct.double().mean())

    @property
    def accuracy_top5(self) -> float:
        """Fraction of images whose class is among the five most likely (or all, if fewer)."""
        likely = self.logits.topk(min(5, self.logits.shape[1]), dim=1).indices
        return float((likely == self.labels[:, None]).any(dim=1).double().mean())


def evaluate_network(
    network: nn.Module,
    split: Split,
    *,
    resolution_px: int,
    normalization: Normalization,
    batch_size: int,
) -> Predictions:
    """Run a network over a split with the evaluation transform.

    Args:
        network: Called with (N, 3, r, r) images; its mode is set to evaluation.
        split: The images.
        resolution_px: Height and width of the network's input.
        normalization: What is subtracted from the pixels, and what they are divided by.
        batch_size: Images a forward pass.
    """
    device = _device_of(network)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in split.batches(batch_size):
            images = resize_normalize(
                copied_to(device, batch.images),
                resolution_px=resolution_px,
                normalization=normalization,
            )
            yield images.contiguous(memory_format=torch.channels_last), batch.labels

    return predict(network, batches())


def predict(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Predictions:
    """Run a network over batches of prepared images and their labels.

    The logits stay on the device until the last batch: nothing waits for it in between.
    """
    logits, labels = [], []
    network.eval()
    with torch.inference_mode():
        for images, truth in batches:
            logits.append(network(images).float())
            labels.append(truth)
    return Predictions(logits=torch.cat(logits).cpu(), labels=torch.cat(labels).cpu())


def _device_of(network: nn.Module) -> torch.device:
    for tensor in network.parameters():
        return tensor.device
    return torch.device("cpu")
