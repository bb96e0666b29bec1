"""Batch-norm calibration: population statistics of one subnet's own features.

Legend: N batch, C channels, r pixels.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from ofa_pipeline.compute import Ranks
from ofa_pipeline.errors import NotEnoughBatchesError

Network = TypeVar("Network", bound=nn.Module)

MAX_JOINT_PIXELS = 2**22
"""Batches are joined up to this many input pixels: 5,349 images of 28 px, 83 of 224 px. Peak
memory is then about 1 GB for a MobileNetV3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedBatches:
    """Which of the joint batches are this process's, where several calibrate together."""

    ranks: Ranks
    own: slice
    """Numbers of the joint batches that this process is given the images of."""
    total: int
    """Joint batches of all processes."""


def joint_batches(num_images: int, *, batch_size: int, resolution_px: int) -> list[range]:
    """Return which images, in batches of one size, `calibrate_batch_norm` takes together."""
    joint, start = [], 0
    for first in range(0, num_images, batch_size):
        end = min(first + batch_size, num_images)
        if first > start and (end - start) * resolution_px**2 > MAX_JOINT_PIXELS:
            joint.append(range(start, first))
            start = first
    return [*joint, range(start, num_images)] if num_images else []


def calibrate_batch_norm(
    subnet: Network, batches: Iterable[Tensor], *, shared: SharedBatches | None = None
) -> Network:
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
        shared: With other processes, which of the joint batches these images are; all of them
            come to the statistics that one process would, bit for bit.

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
    if shared is not None:
        _exchange(moments, shared)
    elif not num_images:
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
    """Mean and unbiased variance of each batch that one layer saw, in float64."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, Tensor, Tensor]] = []

    def note(self, norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        """Note a batch; its statistics are in the buffers of the layer."""
        assert norm.running_mean is not None
        assert norm.running_var is not None
        count = inputs[0].numel() // inputs[0].shape[1]
        mean, variance = (
            buffer.to(torch.float64, copy=True) for buffer in (norm.running_mean, norm.running_var)
        )
        self.seen.append((count, mean, variance))

    def store(self, norm: nn.BatchNorm2d) -> None:
        """Write the pooled statistics; a layer that saw nothing keeps its own.

        Source:
            Chan et al. 1979, "Updating formulae and a pairwise algorithm for computing sample
            variances", equations 2.1.
        """
        if not self.seen:
            return
        assert isinstance(norm.running_mean, Tensor)
        assert isinstance(norm.running_var, Tensor)
        pooled, pooled_mean = 0, torch.zeros_like(self.seen[0][1])
        squares = torch.zeros_like(pooled_mean)  # sum of squared distances from the mean
        for count, mean, variance in self.seen:
            total = pooled + count
            shift = mean - pooled_mean
            squares = squares + variance * (count - 1) + shift**2 * pooled * count / total
            pooled_mean = pooled_mean + shift * count / total
            pooled = total
        norm.running_mean.copy_(pooled_mean)
        norm.running_var.copy_(squares / pooled)


def _exchange(moments: Mapping[nn.BatchNorm2d, _Moments], shared: SharedBatches) -> None:
    """Give every process what all have noted, in the order of the batches."""
    widths = [1 + 2 * norm.num_features for norm in moments]
    device = next(norm.weight.device for norm in moments)
    gathered = torch.zeros(shared.total, sum(widths), dtype=torch.float64, device=device)
    for place, number in enumerate(range(shared.total)[shared.own]):
        parts = [
            torch.cat([mean.new_tensor([count]), mean, variance])
            for found in moments.values()
            for count, mean, variance in found.seen[place : place + 1]
        ]
        gathered[number] = torch.cat(parts)
    shared.ranks.add_up(gathered)  # each row is one process's, so a sum rounds nothing
    for found, columns in zip(moments.values(), torch.split(gathered, widths, dim=1), strict=True):
        found.seen = [(int(row[0]), *row[1:].chunk(2)) for row in columns]
