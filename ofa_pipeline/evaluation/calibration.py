"""Batch-norm calibration: population statistics of one subnet's own features.

Legend: N batch, C channels, r pixels.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from ofa_pipeline.errors import NotEnoughBatchesError

Network = TypeVar("Network", bound=nn.Module)

MAX_JOINT_PIXELS = 2**22
"""Batches are joined up to this many input pixels: 5,349 images of 28 px, 83 of 224 px. Peak
memory is then about 1 GB for a MobileNetV3."""


def calibrate_batch_norm(subnet: Network, batches: Iterable[Tensor]) -> Network:
    """Estimate the batch-norm statistics of a subnet afresh.

    A subnet's features differ from the supernet's and from other subnets', so statistics must
    be its own; without this step accuracy drops to chance. Mean and variance are those of all
    given images together: variances within batches and the variance of the batch means add up.

    Small batches are joined first (`MAX_JOINT_PIXELS`), so what fits is one batch and the result
    does not depend on how the images were cut. Beyond that, layers see inputs normalized with
    the statistics of their joint batch, as in training.

    Args:
        subnet: Any network with `nn.BatchNorm2d`; it is not changed.
        batches: Images of shape (N, 3, r, r), normalized as for evaluation, not augmented.

    Returns:
        A calibrated copy in evaluation mode.

    Raises:
        NotEnoughBatchesError: If there is no image, or a layer saw a single value a channel.

    Source:
        Wu & Johnson 2021 (arXiv:2105.07576), section 3: population statistics. The reference
        averages the variances within batches and so leaves out that of the batch means.
    """
    network = copy.deepcopy(subnet)
    moments = {
        module: _Moments() for module in network.modules() if isinstance(module, nn.BatchNorm2d)
    }
    momenta = {norm: norm.momentum for norm in moments}
    handles = [norm.register_forward_hook(moments[norm].note) for norm in moments]
    network.eval()
    for norm in moments:
        norm.train()
        norm.momentum = 1.0  # the buffers hold the last batch alone
    num_images = 0
    with torch.no_grad():
        for images in _joined(batches):
            num_images += len(images)
            _forward(network, images)
    for handle in handles:
        handle.remove()
    if not num_images:
        raise NotEnoughBatchesError(
            "batch-norm calibration needs at least one image, found none. "
            "Check evaluation.calibration_images and the calibration split."
        )
    for norm, found in moments.items():
        found.store(norm)
        norm.momentum = momenta[norm]
    return network.eval()


def _forward(network: nn.Module, images: Tensor) -> None:
    try:
        network(images)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise NotEnoughBatchesError(
            f"batch-norm calibration needs more than one value a channel in every layer, got "
            f"{len(images)} image of {images.shape[-1]} px. Use more calibration images."
        ) from error


def _joined(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Join consecutive batches of one size while they stay within the limit."""
    held: list[Tensor] = []
    pixels = 0
    for images in batches:
        added = len(images) * images.shape[-2] * images.shape[-1]
        if held and (pixels + added > MAX_JOINT_PIXELS or images.shape[1:] != held[0].shape[1:]):
            yield _cat(held)
            held, pixels = [], 0
        held.append(images)
        pixels += added
    if pixels:
        yield _cat(held)


def _cat(held: list[Tensor]) -> Tensor:
    return held[0] if len(held) == 1 else torch.cat(held)


class _Moments:
    """Pooled mean and biased variance of everything that one layer saw, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0  # sum of squared distances from the mean

    def note(self, norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        """Merge a batch; its statistics are in the buffers of the layer.

        Source:
            Chan et al. 1979, "Updating formulae and a pairwise algorithm for computing sample
            variances", equations 2.1.
        """
        assert norm.running_mean is not None
        assert norm.running_var is not None
        count = inputs[0].numel() // inputs[0].shape[1]
        mean, variance = norm.running_mean.double(), norm.running_var.double()
        total = self.count + count
        shift = mean - self.mean
        # The buffer holds the unbiased variance.
        self.squares = self.squares + variance * (count - 1) + shift**2 * self.count * count / total
        self.mean = self.mean + shift * count / total
        self.count = total

    def store(self, norm: nn.BatchNorm2d) -> None:
        """Write the pooled statistics; a layer that saw nothing keeps its own."""
        if not self.count:
            return
        assert isinstance(norm.running_mean, Tensor)
        assert isinstance(norm.running_var, Tensor)
        norm.running_mean.copy_(self.mean)  # type: ignore[arg-type]
        norm.running_var.copy_(self.squares / self.count)  # type: ignore[arg-type]
