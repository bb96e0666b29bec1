"""From steps and weights to the file that LiteRT runs (``.tflite``), in float32 or int8.

Images come as (N, 3, H, W), as everywhere; inside, values are (N, H, W, C), as LiteRT has them, and
a value without pixels is (N, 1, 1, C). In int8 weights have a scale for each output channel and are
symmetric, activations have one scale and a zero point: what LiteRT calls full integer quantisation.
Images and logits stay in float32.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.devices.rounding import Quantization, round_weights
from ofa_pipeline.devices.steps import LoweredNetwork, Step, fused_activations, nhwc, pair
from ofa_pipeline.devices.tflite_builder import Builder
from ofa_pipeline.errors import ExportError

Range = tuple[float, float]
_FUSED = {"relu": "RELU", "relu6": "RELU6"}
"""Activations that the operator before them computes, too."""
_FUSING = ("conv2d", "linear", "add")
_OPERATORS = {
    "relu": "RELU",
    "relu6": "RELU6",
    "hardswish": "HARD_SWISH",
    "add": "ADD",
    "multiply": "MUL",
}
"""Those that say all by their name."""
_RANGE_OF_INPUT = ("max_pool2d", "avg_pool2d", "as_pixel", "relu", "relu6")
"""Operators whose results are rounded as what they take."""
_RELU6_RANGE, _UNIT_RANGE = (0.0, 6.0), (0.0, 1.0)
_LOWEST = float(np.finfo(np.float32).min)


def tflite_bytes(
    network: LoweredNetwork,
    shapes: Sequence[tuple[int, ...]],
    *,
    ranges: Sequence[Range] | None = None,
) -> bytes:
    """Return the content of a file; the same bytes for the same arguments.

    Args:
        network: Steps and weights.
        shapes: Of each value for one image, (1, C, H, W) or (1, C); see `values_of`.
        ranges: Lowest and highest number in each value, for int8; None: float32.

    Raises:
        ExportError: If LiteRT has no operator for a step.
    """
    writer = _Writer(network, shapes, ranges)
    for index, step in enumerate(network.steps):
        writer.add(index, step)
    return writer.finish()


@dataclass(frozen=True, slots=True)
class _Padding:
    """How an operator finds the pixels beyond the edge."""

    name: str
    """``SAME`` or ``VALID``."""
    explicit: tuple[tuple[int, int], tuple[int, int]] | None = None
    """Rows and columns to add before it, at either side."""


class _Writer:
    """Adds the operators of one step after the other."""

    def __init__(
        self,
        network: LoweredNetwork,
        shapes: Sequence[tuple[int, ...]],
        ranges: Sequence[Range] | None,
    ) -> None:
        self._network, self._shapes, self._ranges = network, shapes, ranges
        self._builder = Builder()
        self._fused = fused_activations(network.steps, activations=_FUSED, before=_FUSING)
        self._tensors: dict[int, int] = {}
        _, channels, height, width = shapes[0]
        images = self._builder.tensor("images", (1, channels, height, width))
        self._images = images
        pixels = self._builder.tensor("pixels", nhwc(shapes[0]))
        order = self._builder.constant("order", np.array([0, 2, 3, 1], np.int32))
        self._builder.operator("TRANSPOSE", [images, order], pixels)
        self._tensors[0] = pixels
        if ranges is not None:
            self._tensors[0] = self._quantized_copy(pixels, 0)

    def add(self, index: int, step: Step) -> None:
        """Add one step; what it makes is value `index` + 1."""
        value = index + 1
        if value in self._tensors:  # an activation that the operator before it computes
            return
        operation = step["operation"]
        sources = [self._tensors[source] for source in step["inputs"]]
        if operation == "as_pixel":
            self._tensors[value] = sources[0]
            return
        made = self._fused.get(value, value)
        activation = _FUSED[self._network.steps[made - 1]["operation"]] if made != value else "NONE"
        result = self._value(made, step)
        self._tensors[value] = self._tensors[made] = result
        self._add_operator(step, sources, result, value=value, activation=activation)

    def _add_operator(
        self, step: Step, sources: Sequence[int], result: int, *, value: int, activation: str
    ) -> None:
        operation = step["operation"]
        if operation == "conv2d":
            self._convolve(step, sources[0], result, value=value, activation=activation)
        elif operation == "linear":
            self._multiply_matrix(step, sources[0], result, activation=activation)
        elif operation in ("max_pool2d", "avg_pool2d"):
            self._pool(step, sources[0], result, value=value)
        elif operation == "hardsigmoid":
            self._hard_sigmoid(sources[0], result, value)
        elif operation == "hardswish" and self._ranges is not None:
            self._hard_swish(sources[0], result, value)
        elif operation == "mean_over_pixels":
            axes = self._builder.constant("pixels", np.array([1, 2], np.int32))
            self._builder.operator("MEAN", [sources[0], axes], result, keepDims=True)
        elif operation in _OPERATORS:
            options = {"fusedActivationFunction": activation} if len(sources) > 1 else {}
            self._builder.operator(_OPERATORS[operation], sources, result, **options)
        else:
            raise ExportError(f"LiteRT has no operator for the step {operation}")

    def finish(self) -> bytes:
        """Return the file, whose result is the last value, as logits (N, classes)."""
        last = len(self._network.steps)
        logits = self._tensors[last]
        if self._ranges is not None:
            dequantized = self._builder.tensor("dequantized", nhwc(self._shapes[last]))
            self._builder.operator("DEQUANTIZE", [logits], dequantized)
            logits = dequantized
        shape = np.array([-1, self._shapes[last][1]], np.int32)
        flat = self._builder.tensor("logits", (1, self._shapes[last][1]))
        self._builder.operator(
            "RESHAPE", [logits, self._builder.constant("shape", shape)], flat, newShape=shape
        )
        return self._builder.finish(self._images, flat)

    def _value(self, value: int, step: Step) -> int:
        """Return a new tensor for a value."""
        quantization = None
        if self._ranges is not None:
            if step["operation"] in _RANGE_OF_INPUT:
                quantization = self._builder.quantization_of(self._tensors[step["inputs"][0]])
            else:
                quantization = Quantization.of_range(self._ranges[value])
        return self._builder.tensor(f"value {value}", nhwc(self._shapes[value]), quantization)

    def _quantized_copy(self, tensor: int, value: int) -> int:
        assert self._ranges is not None
        quantization = Quantization.of_range(self._ranges[value])
        copy = self._builder.tensor("quantized", nhwc(self._shapes[value]), quantization)
        self._builder.operator("QUANTIZE", [tensor], copy)
        return copy

    def _convolve(
        self, step: Step, source: int, result: int, *, value: int, activation: str
    ) -> None:
        weight = self._network.weights[step["weights"]["weight"]].astype(np.float32)
        options = step["options"]
        stride, dilation = pair(options["stride"]), pair(options["dilation"])
        before, after = self._shapes[step["inputs"][0]], self._shapes[value]
        padding = _padding(before, after, weight.shape[2:], stride, dilation, options["padding"])
        source = self._padded(source, before, padding)
        common: dict[str, Any] = {
            "padding": padding.name,
            "strideH": stride[0],
            "strideW": stride[1],
            "dilationHFactor": dilation[0],
            "dilationWFactor": dilation[1],
            "fusedActivationFunction": activation,
        }
        is_depthwise = options["groups"] == before[1] > 1
        order, axis = ((1, 2, 3, 0), 3) if is_depthwise else ((0, 2, 3, 1), 0)
        inputs = [source, *self._weights(step, source, weight.transpose(order), axis=axis)]
        if is_depthwise:
            multiplier = weight.shape[0] // before[1]
            self._builder.operator(
                "DEPTHWISE_CONV_2D", inputs, result, depthMultiplier=multiplier, **common
            )
        else:
            self._builder.operator("CONV_2D", inputs, result, **common)

    def _multiply_matrix(self, step: Step, source: int, result: int, *, activation: str) -> None:
        if len(self._shapes[step["inputs"][0]]) > 2:  # noqa: PLR2004 - images, channels
            raise ExportError("LiteRT has no linear layer of each pixel")
        weight = self._network.weights[step["weights"]["weight"]].astype(np.float32)
        self._builder.operator(
            "FULLY_CONNECTED",
            [source, *self._weights(step, source, weight, axis=0)],
            result,
            keepNumDims=True,
            fusedActivationFunction=activation,
        )

    def _weights(
        self, step: Step, source: int, weight: NDArray[np.float32], *, axis: int
    ) -> list[int]:
        """Add weight and bias; in int8 the weight has a scale for each index of `axis`."""
        keys, builder = step["weights"], self._builder
        name, num_outputs = keys["weight"], weight.shape[axis]
        bias = np.zeros(num_outputs, np.float32)
        if "bias" in keys:
            bias = self._network.weights[keys["bias"]].astype(np.float32)
        if self._ranges is None:
            return [
                builder.constant(name, np.ascontiguousarray(weight)),
                builder.constant(f"{name} bias", bias),
            ]
        of_source = builder.quantization_of(source)
        rounded, whole = round_weights(weight, bias, axis=axis, of_source=of_source)
        return [
            builder.constant(name, *rounded),
            builder.constant(f"{name} bias", *whole),
        ]

    def _hard_sigmoid(self, source: int, result: int, value: int) -> None:
        """Add min(max(x + 3, 0), 6) / 6, which LiteRT has no operator for."""
        middle = self._builder.tensor(
            f"value {value} times 6", nhwc(self._shapes[value]), self._quantization(_RELU6_RANGE)
        )
        three, sixth = self._scalar("three", 3.0), self._scalar("sixth", 1 / 6)
        self._builder.operator("ADD", [source, three], middle, fusedActivationFunction="RELU6")
        self._builder.operator("MUL", [middle, sixth], result, fusedActivationFunction="NONE")

    def _hard_swish(self, source: int, result: int, value: int) -> None:
        """Add x times the hard sigmoid of x: XNNPACK has hard swish in float32 only."""
        gate = self._builder.tensor(
            f"gate of value {value}", nhwc(self._shapes[value]), self._quantization(_UNIT_RANGE)
        )
        self._hard_sigmoid(source, gate, value)
        self._builder.operator("MUL", [source, gate], result, fusedActivationFunction="NONE")

    def _scalar(self, name: str, number: float) -> int:
        if self._ranges is None:
            return self._builder.constant(name, np.array([number], np.float32))
        quantization = Quantization.of_range((0.0, number))
        return self._builder.constant(name, np.array([127], np.int8), quantization)

    def _quantization(self, limits: Range) -> Quantization | None:
        return None if self._ranges is None else Quantization.of_range(limits)

    def _pool(self, step: Step, source: int, result: int, *, value: int) -> None:
        options, is_max = step["options"], step["operation"] == "max_pool2d"
        kernel, stride = pair(options["kernel_size"]), pair(options["stride"])
        if pair(options.get("dilation", 1)) != (1, 1):
            raise ExportError("LiteRT has no pool with gaps between its pixels")
        before, after = self._shapes[step["inputs"][0]], self._shapes[value]
        padding = _padding(before, after, kernel, stride, (1, 1), options["padding"])
        if not is_max:
            _require_mean(padding, options)
        self._builder.operator(
            "MAX_POOL_2D" if is_max else "AVERAGE_POOL_2D",
            [self._padded(source, before, padding, with_lowest=is_max)],
            result,
            padding=padding.name,
            strideH=stride[0],
            strideW=stride[1],
            filterHeight=kernel[0],
            filterWidth=kernel[1],
            fusedActivationFunction="NONE",
        )

    def _padded(
        self,
        source: int,
        shape: tuple[int, ...],
        padding: _Padding,
        *,
        with_lowest: bool = False,
    ) -> int:
        """Add rows and columns of zeros, or of what no number is below, where that is needed."""
        if padding.explicit is None:
            return source
        rows, columns = padding.explicit
        _, height, width, channels = nhwc(shape)
        quantization = self._builder.quantization_of(source) if self._ranges is not None else None
        padded = self._builder.tensor(
            f"padded {source}",
            (1, height + sum(rows), width + sum(columns), channels),
            quantization,
        )
        amounts = np.array([(0, 0), rows, columns, (0, 0)], np.int32)
        inputs = [source, self._builder.constant("amounts", amounts)]
        if with_lowest:
            lowest: NDArray[Any] = np.array([_LOWEST], np.float32)
            if quantization is not None:
                lowest = np.array([-128], np.int8)
            inputs.append(self._builder.constant("lowest", lowest, quantization))
        self._builder.operator("PADV2" if with_lowest else "PAD", inputs, padded)
        return padded


def _require_mean(padding: _Padding, options: Mapping[str, Any]) -> None:
    """Check that LiteRT can say a mean: without pixels beyond the edge, or with zeros added before.

    Raises:
        ExportError: If not.
    """
    added = pair(options["padding"])
    if padding.explicit is None:
        can_say = not (any(added) and options["count_include_pad"])
    else:  # of a window that is cut, PyTorch takes the mean of what is there
        is_cut = any(amount[1] > most for amount, most in zip(padding.explicit, added, strict=True))
        can_say = options["count_include_pad"] and any(added) and not is_cut
    if not can_say:
        raise ExportError("LiteRT has no mean over pixels that counts these beyond the edge")


def _padding(
    before: tuple[int, ...],
    after: tuple[int, ...],
    kernel: Sequence[int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    added: Any,  # noqa: ANN401 - a number or two
) -> _Padding:
    """Return how LiteRT says what PyTorch adds to either side.

    Args:
        before: (1, C, H, W) of what is taken.
        after: The same of what is made.
        kernel: Rows and columns.
        stride: Of rows and columns.
        dilation: Of rows and columns.
        added: Zeros at either side, one number or two.
    """
    amounts, is_same = [], True
    for size, result, length, step, gap, start in zip(
        before[2:], after[2:], kernel, stride, dilation, pair(added), strict=True
    ):
        needed = max((result - 1) * step + (length - 1) * gap + 1 - size, 0)
        amounts.append((start, max(needed - start, 0)))
        is_same &= result == -(-size // step) and start == needed // 2
    if not any(sum(amount) for amount in amounts):
        return _Padding("VALID")
    return _Padding("SAME") if is_same else _Padding("VALID", (amounts[0], amounts[1]))
