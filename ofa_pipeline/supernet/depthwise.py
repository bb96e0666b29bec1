"""Depthwise convolution whose gradient is fast on the CPU for kernels larger than 3.

Legend: N batch, C channels, H W pixels, K kernel size.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

FAST_COLUMNS = 3
"""oneDNN's depthwise weight gradient takes kernels of any height but at most this width; for
wider ones it falls back to a kernel that computes 16 channels a channel."""
PART_BYTES = 2**21
"""Bytes of features that are padded at a time: larger copies leave the cache, and fresh memory for
them costs more than the arithmetic."""


def depthwise_conv2d(x: Tensor, weight: Tensor, *, stride: int) -> Tensor:
    """Convolve each channel with its own kernel, padded to keep the size at stride 1.

    The result is that of `torch.nn.functional.conv2d` bit for bit, the gradient up to rounding.

    Args:
        x: Features, shape (N, C, H, W).
        weight: Kernels, shape (C, 1, K, K), K odd.
        stride: Stride of the convolution.
    """
    if x.device.type == "cpu" and weight.shape[-1] > FAST_COLUMNS and weight.requires_grad:
        result: Tensor = _DepthwiseConv.apply(x, weight, stride)
        return result
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=weight.shape[0])


class DepthwiseConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` with one group a channel, trained with `depthwise_conv2d`."""

    def __init__(self, channels: int, kernel_size: int, *, stride: int) -> None:
        """Build a layer without bias that keeps the size at stride 1."""
        padding = kernel_size // 2
        super().__init__(
            channels, channels, kernel_size, stride, padding, groups=channels, bias=False
        )

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        if self.training and torch.is_grad_enabled():
            return depthwise_conv2d(input, self.weight, stride=self.stride[0])
        return super().forward(input)


class _DepthwiseConv(torch.autograd.Function):
    """The same convolution, its weight gradient computed a few kernel columns at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(
            x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=weight.shape[0]
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: ANN401
        x, weight = ctx.saved_tensors
        for_x, for_weight = None, None
        if ctx.needs_input_grad[0]:
            padding = (weight.shape[-1] // 2,) * 2
            for_x = _gradients(x, weight, gradient, ctx.stride, padding, of_weight=False)
        if ctx.needs_input_grad[1]:
            for_weight = _weight_gradient(x, weight, gradient, ctx.stride)
        return for_x, for_weight, None


def _weight_gradient(x: Tensor, weight: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """Return the gradient of the kernels, summed over parts of the batch that fit the cache."""
    images = max(1, PART_BYTES // max(1, x[:1].numel() * x.element_size()))
    parts = zip(torch.split(x, images), torch.split(gradient, images), strict=True)
    gradients = [_banded_weight_gradient(part, weight, of, stride) for part, of in parts]
    return gradients[0] if len(gradients) == 1 else torch.stack(gradients).sum(dim=0)


def _banded_weight_gradient(x: Tensor, weight: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """Join the gradient from bands of kernel columns."""
    size = weight.shape[-1]
    height, width = x.shape[-2:]
    rows, columns = ((length - 1) * stride for length in gradient.shape[-2:])
    margin = size // 2
    below = rows + size - margin - height
    bands = []
    for start, stop in _bands(size):
        # The operator's own padding would keep it from the fast kernel, so pad (or crop) here.
        right = columns + stop - margin - width
        shifted = _pad_or_crop(x, (margin - start, right), (margin, below))
        band = weight[..., start:stop]
        bands.append(_gradients(shifted, band, gradient, stride, (0, 0), of_weight=True))
    return torch.cat(bands, dim=3)


def _pad_or_crop(x: Tensor, columns: tuple[int, int], rows: tuple[int, int]) -> Tensor:
    """Add zeros on each side, or remove pixels where the number is negative.

    Done one after the other: feature maps may be smaller than what is removed.
    """
    sides = (*columns, *rows)
    padded = F.pad(x, tuple(max(side, 0) for side in sides))
    left, right, top, bottom = (min(side, 0) for side in sides)
    height, width = padded.shape[-2:]
    return padded[..., -top : height + bottom, -left : width + right]


def _bands(size: int) -> Iterator[tuple[int, int]]:
    """Cut kernel columns into bands of two or three: 5 into 2 and 3, 7 into 2, 2 and 3.

    A band of a single column would not meet the fast kernel at stride 2.
    """
    cuts = [*range(0, size - FAST_COLUMNS + 1, 2), size]
    return itertools.pairwise(cuts)


def _gradients(
    x: Tensor,
    weight: Tensor,
    gradient: Tensor,
    stride: int,
    padding: tuple[int, int],
    *,
    of_weight: bool,
) -> Tensor:
    results = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, (stride, stride), padding, (1, 1), False, (0, 0),
        weight.shape[0], (not of_weight, of_weight, False),
    )  # fmt: skip
    result: Tensor = results[int(of_weight)]
    return result
