"""What integers stand for in the files of int8 that are written from steps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LEVELS, _LOWEST = 255, -128
_LARGEST_BIAS = 2.0**28
"""In units of its scale: 32 bits have room for the products, too."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """What number an integer stands for: scale times (integer minus zero point)."""

    scale: NDArray[np.float32]
    """One, or one for each index of an axis."""
    zero_point: int = 0
    axis: int = 0

    @classmethod
    def of_range(cls, limits: tuple[float, float]) -> "Quantization":
        """Return what lets an int8 reach from a lowest to a highest number, and be zero."""
        low, high = min(limits[0], 0.0), max(limits[1], 0.0)
        scale = (high - low) / _LEVELS or 1.0
        zero_point = round(_LOWEST - low / scale)
        return cls(np.array([scale], np.float32), zero_point)

    @classmethod
    def per_channel(cls, scale: NDArray[np.float64], axis: int) -> "Quantization":
        """Return symmetric ones, with a scale for each index of an axis."""
        return cls(scale.astype(np.float32), axis=axis)


Rounded = tuple[NDArray[np.int8] | NDArray[np.int32], Quantization]


def round_weights(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    *,
    axis: int,
    of_source: Quantization,
) -> tuple[Rounded, Rounded]:
    """Return a weight in int8 and its bias in int32, with a scale for each output channel.

    Args:
        weight: Of a convolution or linear layer.
        bias: One number for each output channel.
        axis: Which axis of the weight the output channels are.
        of_source: What the integers stand for that the weight is multiplied with.
    """
    others = tuple(other for other in range(weight.ndim) if other != axis)
    source_scale = float(of_source.scale[0])
    scale = np.abs(weight).max(axis=others).astype(np.float64) / 127
    # Of a channel that is about zero, the bias is what counts: it must fit into 32 bits.
    scale = np.maximum(scale, np.abs(bias) / (source_scale * _LARGEST_BIAS))
    scale[scale == 0] = 1.0
    rounded = np.rint(weight / np.expand_dims(scale, others)).astype(np.int8)
    bias_scale = scale * source_scale
    whole = np.rint(bias / bias_scale).astype(np.int32)
    return (
        (np.ascontiguousarray(rounded), Quantization.per_channel(scale, axis)),
        (whole, Quantization.per_channel(bias_scale, 0)),
    )
