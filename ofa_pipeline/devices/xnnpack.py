"""From steps and weights to the file that ExecuTorch runs with XNNPACK, in float32 or int8.

Images come as (N, 3, H, W), as everywhere; inside, values are (N, H, W, C), as XNNPACK has them,
and a value without pixels is (N, 1, 1, C). In int8 weights have a scale for each output channel and
are symmetric, activations have one scale and a zero point. Images and logits stay in float32.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ofa_pipeline.devices.pte import NONE, Builder
from ofa_pipeline.devices.rounding import Quantization, round_weights
from ofa_pipeline.devices.steps import LoweredNetwork, Step, fused_activations, nhwc, pair
from ofa_pipeline.errors import ExportError

Range = tuple[float, float]
_LIMITS: Mapping[str, Range] = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}
"""Activations that the node before them computes, too."""
_NODES = {
    "relu": "Clamp",
    "relu6": "Clamp",
    "hardswish": "Hardswish",
    "add": "Add",
    "multiply": "Multiply",
}
"""Those that say all by their name and limits."""
_FUSING = ("conv2d", "linear", "add")
_RANGE_OF_INPUT = ("max_pool2d", "avg_pool2d", "relu", "relu6")
"""Nodes whose results are rounded as what they take."""
_RELU6_RANGE = (0.0, 6.0)
_KEEP_DIMS = 0x40


def pte_bytes(
    network: LoweredNetwork,
    shapes: Sequence[tuple[int, ...]],
    *,
    ranges: Sequence[Range] | None = None,
) -> bytes:
    """Return the content of a file; the same bytes for the same arguments.

    Args:
        network: Steps and weights.
        shapes: Of each value for one image, (1, C, H, W) or (1, C); see `shapes_of`.
        ranges: Lowest and highest number in each value, for int8; None: float32.

    Raises:
        DeviceError: If ExecuTorch is not installed.
        ExportError: If XNNPACK has no node for a step.
    """
    writer = _Writer(network, shapes, ranges)
    for index, step in enumerate(network.steps):
        writer.add(index, step)
    return writer.finish()


class _Writer:
    """Adds the nodes of one step after the other."""

    def __init__(
        self,
        network: LoweredNetwork,
        shapes: Sequence[tuple[int, ...]],
        ranges: Sequence[Range] | None,
    ) -> None:
        self._network, self._shapes, self._ranges = network, shapes, ranges
        self._builder = Builder()
        self._fused = fused_activations(network.steps, activations=_LIMITS, before=_FUSING)
        self._images = images = self._builder.images(shapes[0])
        quantization = None
        if ranges is not None:
            quantization = Quantization.of_range(ranges[0])
            images = self._builder.value(shapes[0], quantization)
            self._one_to_one("Convert", self._images, images)
        pixels = self._builder.value(nhwc(shapes[0]), quantization)
        self._one_to_one("StaticTranspose", images, pixels, num_dims=4, perm=[0, 2, 3, 1])
        self._values = {0: pixels}

    def add(self, index: int, step: Step) -> None:
        """Add one step; what it makes is value `index` + 1."""
        value = index + 1
        if value in self._values:  # an activation that the node before it computes
            return
        sources = [self._values[source] for source in step["inputs"]]
        if step["operation"] == "as_pixel":
            self._values[value] = sources[0]
            return
        made = self._fused.get(value, value)
        limits = _LIMITS.get(self._network.steps[made - 1]["operation"])
        result = self._builder.value(nhwc(self._shapes[made]), self._quantization(made, step))
        self._values[value] = self._values[made] = result
        self._add_node(step, sources, result, value=value, limits=limits)

    def _add_node(
        self, step: Step, sources: Sequence[int], result: int, *, value: int, limits: Range | None
    ) -> None:
        match step["operation"]:
            case "conv2d":
                self._convolve(step, sources[0], result, limits=limits)
            case "linear":
                self._multiply_matrix(step, sources[0], result, limits=limits)
            case "max_pool2d" | "avg_pool2d":
                self._pool(step, sources[0], result, value=value)
            case "hardsigmoid":
                self._hard_sigmoid(sources[0], result, value)
            case "mean_over_pixels":
                self._one_to_one("GlobalAvgPooling2d", sources[0], result, flags=_KEEP_DIMS)
            case operation if operation in _NODES:
                names = ("input_id",) if len(sources) == 1 else ("input1_id", "input2_id")
                inputs = dict(zip(names, sources, strict=True))
                self._builder.node(_NODES[operation], limits=limits, output_id=result, **inputs)
            case operation:
                raise ExportError(f"XNNPACK has no node for the step {operation}")

    def finish(self) -> bytes:
        """Return the file, whose result is the last value, as logits (N, classes)."""
        last = len(self._network.steps)
        classes, values = self._shapes[last][1], self._values[last]
        if self._ranges is not None:
            dequantized = self._builder.value(nhwc(self._shapes[last]))
            self._one_to_one("Convert", values, dequantized)
            values = dequantized
        logits = self._builder.logits((1, classes))
        # As many images as there are: 0 is what is left.
        self._one_to_one("StaticReshape", values, logits, num_dims=2, new_shape=[0, classes])
        return self._builder.finish(self._images, logits)

    def _quantization(self, value: int, step: Step) -> Quantization | None:
        """Return what integers in a new value stand for; None in float32."""
        if self._ranges is None:
            return None
        if step["operation"] in _RANGE_OF_INPUT:
            return self._builder.quantization_of(self._values[step["inputs"][0]])
        return Quantization.of_range(self._ranges[value])

    def _one_to_one(
        self, kind: str, source: int, result: int, **fields: int | Sequence[int]
    ) -> None:
        self._builder.node(kind, limits=None, input_id=source, output_id=result, **fields)

    def _convolve(self, step: Step, source: int, result: int, *, limits: Range | None) -> None:
        weight = self._network.weights[step["weights"]["weight"]]
        options, channels = step["options"], self._shapes[step["inputs"][0]][1]
        outputs, inputs, height, width = weight.shape
        groups = options["groups"]
        stride, dilation = pair(options["stride"]), pair(options["dilation"])
        is_depthwise = groups == channels > 1
        order, axis = ((1, 2, 3, 0), 3) if is_depthwise else ((0, 2, 3, 1), 0)
        kernel, bias = self._weights(step, source, order=order, axis=axis)
        self._builder.node(
            "DepthwiseConv2d" if is_depthwise else "Conv2d",
            limits=limits,
            **_padding(options["padding"]),
            kernel_height=height,
            kernel_width=width,
            subsampling_height=stride[0],
            subsampling_width=stride[1],
            dilation_height=dilation[0],
            dilation_width=dilation[1],
            group_input_channels=inputs,
            group_output_channels=outputs // groups,
            groups=groups,
            input1_id=source,
            filter_id=kernel,
            bias_id=bias,
            output_id=result,
        )

    def _multiply_matrix(
        self, step: Step, source: int, result: int, *, limits: Range | None
    ) -> None:
        if len(self._shapes[step["inputs"][0]]) > 2:  # noqa: PLR2004 - images, channels
            raise ExportError("XNNPACK has no linear layer of each pixel")
        kernel, bias = self._weights(step, source, order=(0, 1), axis=0)
        self._builder.node(
            "FullyConnected",
            limits=limits,
            input1_id=source,
            filter_id=kernel,
            bias_id=bias,
            output_id=result,
        )

    def _weights(
        self, step: Step, source: int, *, order: Sequence[int], axis: int
    ) -> tuple[int, int]:
        """Add weight and bias; in int8 the weight has a scale for each index of `axis`."""
        keys, weights = step["weights"], self._network.weights
        weight = np.ascontiguousarray(weights[keys["weight"]].astype(np.float32).transpose(order))
        if self._ranges is None:
            bias = NONE
            if "bias" in keys:
                bias = self._builder.constant(weights[keys["bias"]].astype(np.float32))
            return self._builder.constant(weight), bias
        numbers = np.zeros(weight.shape[axis], np.float32)
        if "bias" in keys:
            numbers = weights[keys["bias"]].astype(np.float32)
        of_source = self._builder.quantization_of(source)
        rounded, whole = round_weights(weight, numbers, axis=axis, of_source=of_source)
        return self._builder.weight(*rounded), self._builder.weight(*whole)

    def _hard_sigmoid(self, source: int, result: int, value: int) -> None:
        """Add min(max(x + 3, 0), 6) / 6, which XNNPACK has no node for."""
        quantization = None if self._ranges is None else Quantization.of_range(_RELU6_RANGE)
        middle = self._builder.value(nhwc(self._shapes[value]), quantization)
        three, sixth = self._scalar(3.0), self._scalar(1 / 6)
        self._builder.node(
            "Add", limits=_RELU6_RANGE, input1_id=source, input2_id=three, output_id=middle
        )
        self._builder.node("Multiply", input1_id=middle, input2_id=sixth, output_id=result)

    def _scalar(self, number: float) -> int:
        if self._ranges is None:
            return self._builder.constant(np.array([number], np.float32))
        quantization = Quantization.of_range((0.0, number))
        return self._builder.constant(np.array([127], np.int8), quantization)

    def _pool(self, step: Step, source: int, result: int, *, value: int) -> None:
        options = step["options"]
        kernel, stride = pair(options["kernel_size"]), pair(options["stride"])
        before, after = self._shapes[step["inputs"][0]], self._shapes[value]
        dilation = pair(options.get("dilation", 1))
        padding = _padding(options["padding"])
        for axis, end in enumerate(("bottom", "right")):
            needed = (after[2 + axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
            cut = needed - before[2 + axis] - 2 * pair(options["padding"])[axis]
            padding[f"padding_{end}"] += max(cut, 0)
        fields = {
            "pooling_height": kernel[0],
            "pooling_width": kernel[1],
            "stride_height": stride[0],
            "stride_width": stride[1],
            "dilation_height": dilation[0],
            "dilation_width": dilation[1],
        }
        if step["operation"] == "max_pool2d":
            self._one_to_one("MaxPooling2d", source, result, **fields, **padding)
        else:
            self._average(step, source, result, shapes=(before, after), padding=padding, **fields)

    def _average(
        self,
        step: Step,
        source: int,
        result: int,
        *,
        shapes: tuple[tuple[int, ...], tuple[int, ...]],
        padding: dict[str, int],
        **fields: int,
    ) -> None:
        """Add a mean over windows, in float32: XNNPACK has none in int8."""
        before, after = shapes
        if self._ranges is not None:
            source = self._converted(source, before)
        rows, columns = pair(step["options"]["padding"])
        if (rows or columns) and step["options"]["count_include_pad"]:
            if (padding["padding_bottom"], padding["padding_right"]) != (rows, columns):
                raise ExportError("XNNPACK has no mean of cut windows that counts zeros beyond")
            _, height, width, channels = nhwc(before)
            padded = self._builder.value((1, height + 2 * rows, width + 2 * columns, channels))
            edges = [0, rows, columns, 0]
            self._one_to_one(
                "StaticConstantPad", source, padded, pre_paddings=edges, post_paddings=edges
            )
            source, padding = padded, _padding(0)
        means = result if self._ranges is None else self._builder.value(nhwc(after))
        self._one_to_one("AvgPooling2d", source, means, **fields, **padding)
        if self._ranges is not None:
            self._one_to_one("Convert", means, result)

    def _converted(self, source: int, shape: tuple[int, ...]) -> int:
        """Return a value in float32."""
        converted = self._builder.value(nhwc(shape))
        self._one_to_one("Convert", source, converted)
        return converted


def _padding(added: int | Sequence[int]) -> dict[str, int]:
    """Return how XNNPACK says what PyTorch adds to either side, one number or two."""
    rows, columns = pair(added)
    return {
        "padding_top": rows,
        "padding_right": columns,
        "padding_bottom": rows,
        "padding_left": columns,
    }
