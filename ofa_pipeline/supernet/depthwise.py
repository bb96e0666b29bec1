"""Depthwise convolution whose gradient is fast on the CPU for kernels larger than 3.

Legend: N batch, C channels, H W pixels, K kernel size.
"""

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
    """Join the gradient from bands of kernel columns, all read from one padded copy.

    A band that starts further right reads the copy from a later pixel on. What it finds behind the
    end of a row are the zeros in front of the next one, so one margin of zeros a row is enough. The
    operator's own padding would keep it from the fast kernel.
    """
    images, channels, height, width = x.shape
    size = weight.shape[-1]
    margin = size // 2
    rows, columns = (gradient.shape[-2] - 1) * stride + size, margin + width
    shape, strides = (
        (images, channels, rows, columns),
        (rows * columns * channels, 1, columns * channels, channels),  # channels last
    )
    padded = x.new_zeros((images * rows * columns + size) * channels)
    held = x[:, :, : rows - margin]  # a stride beyond the margin may leave the last rows unread
    padded.as_strided(shape, strides)[:, :, margin : margin + height, margin:] = held
    # Of the columns of the result, those that the rows of the copy make too many have no gradient.
    extra = (columns - FAST_COLUMNS) // stride + 1 - gradient.shape[-1]
    gradient = F.pad(gradient, (0, extra)) if extra else gradient
    band, last = weight[..., :FAST_COLUMNS], size - FAST_COLUMNS
    bands = []
    for start in range(0, last + 1, FAST_COLUMNS - 1):
        shifted = padded.as_strided(shape, strides, start * channels)
        of_band = _gradients(shifted, band, gradient, stride, (0, 0), of_weight=True)
        bands.append(of_band if start == last else of_band[..., :-1])
    return torch.cat(bands, dim=3)


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
