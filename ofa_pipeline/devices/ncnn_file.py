"""From steps and weights to what ncnn runs: a zip of ``network.param`` and ``network.bin``.

The first lists the layers as text, the second holds their weights in float32; both are what ncnn's
own tools read. ncnn sees one image at a time: values are (C, H, W), and (C) without pixels.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ofa_pipeline.devices.steps import LoweredNetwork, Step, pair
from ofa_pipeline.errors import ExportError

PARAM, BIN = "network.param", "network.bin"
_MAGIC = 7767517
_FLOAT32_TAG = b"\0\0\0\0"
_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every file in the zip, so that the same network gives the same bytes."""
_SIXTH = float(np.float32(1 / 6))
_PLAIN: Mapping[str, tuple[str, dict[int, float]]] = {
    "relu": ("ReLU", {}),
    "relu6": ("Clip", {0: 0.0, 1: 6.0}),
    "hardswish": ("HardSwish", {0: _SIXTH, 1: 0.5}),
    "hardsigmoid": ("HardSigmoid", {0: _SIXTH, 1: 0.5}),
    "mean_over_pixels": ("Pooling", {0: 1, 4: 1}),
    "add": ("BinaryOp", {0: 0}),
    "multiply": ("BinaryOp", {0: 2}),
}
"""Layers without weights, with their options by ncnn's numbers."""


def ncnn_bytes(network: LoweredNetwork) -> bytes:
    """Return the content of a file; the same bytes for the same network.

    Raises:
        ExportError: If ncnn has no layer for a step.
    """
    writer = _Writer(network)
    for index, step in enumerate(network.steps):
        writer.add(index + 1, step)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(PARAM, _TIME), writer.param())
        archive.writestr(zipfile.ZipInfo(BIN, _TIME), b"".join(writer.weights))
    return content.getvalue()


class _Writer:
    """Collects layers and weights."""

    def __init__(self, network: LoweredNetwork) -> None:
        self._network = network
        self._names = {value: _name(value, network) for value in range(len(network.steps) + 1)}
        self._uses = _uses(network.steps)
        self._copies: dict[int, list[str]] = {}
        self._is_flat: dict[int, bool] = {0: False}
        self._layers: list[str] = []
        self._num_blobs = 0
        self.weights: list[bytes] = []
        self._layer("Input", [], 0, {})

    def add(self, value: int, step: Step) -> None:
        """Add the step that makes a value."""
        operation, sources = step["operation"], step["inputs"]
        is_flat = all(self._is_flat[source] for source in sources)
        self._is_flat[value] = is_flat or operation == "mean_over_pixels"
        if operation in _PLAIN:
            name, options = _PLAIN[operation]
            self._layer(name, sources, value, options)
        elif operation == "as_pixel":
            self._layer("Noop", sources, value, {})
        elif operation == "linear" or (operation == "conv2d" and is_flat):
            self._multiply_matrix(step, value)
        elif operation == "conv2d":
            self._convolve(step, value)
        elif operation in ("max_pool2d", "avg_pool2d"):
            self._pool(step, value)
        else:
            raise ExportError(f"ncnn has no layer for the step {operation}")

    def param(self) -> str:
        """Return the list of layers."""
        head = f"{_MAGIC}\n{len(self._layers)} {self._num_blobs}\n"
        return head + "".join(f"{layer}\n" for layer in self._layers)

    def _layer(
        self, kind: str, sources: Sequence[int], value: int, options: Mapping[int, float]
    ) -> None:
        """Add a layer; what several layers take is copied for each of them."""
        inputs = [self._copies[source].pop() for source in sources]
        name = self._names[value]
        self._write(kind, inputs, [name], options)
        self._copies[value] = [name]
        count = self._uses.get(value, 0)
        if count > 1:
            self._copies[value] = [f"{name}_{copy}" for copy in range(count)]
            self._write("Split", [name], self._copies[value], {})

    def _write(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        options: Mapping[int, float],
    ) -> None:
        self._num_blobs += len(outputs)
        words = [kind, f"layer{len(self._layers)}", str(len(inputs)), str(len(outputs))]
        numbers = [f"{key}={_text(number)}" for key, number in options.items()]
        self._layers.append(" ".join([*words, *inputs, *outputs, *numbers]))

    def _convolve(self, step: Step, value: int) -> None:
        keys, options = step["weights"], step["options"]
        weight = self._network.weights[keys["weight"]]
        stride, dilation = pair(options["stride"]), pair(options["dilation"])
        padding, groups = pair(options["padding"]), options["groups"]
        numbers: dict[int, float] = {
            0: weight.shape[0],
            1: weight.shape[3],
            11: weight.shape[2],
            2: dilation[1],
            12: dilation[0],
            3: stride[1],
            13: stride[0],
            4: padding[1],
            14: padding[0],
            5: int("bias" in keys),
            6: weight.size,
        }
        if groups > 1:
            numbers[7] = groups
        self._layer(
            "ConvolutionDepthWise" if groups > 1 else "Convolution", step["inputs"], value, numbers
        )
        self._keep(keys)

    def _multiply_matrix(self, step: Step, value: int) -> None:
        keys = step["weights"]
        weight = self._network.weights[keys["weight"]]
        if weight.shape[2:] not in ((), (1, 1)) or step.get("options", {}).get("groups", 1) != 1:
            raise ExportError("ncnn has no convolution over pixels that were averaged")
        if not self._is_flat[step["inputs"][0]]:
            raise ExportError("ncnn has no linear layer of each pixel")
        numbers = {0: weight.shape[0], 1: int("bias" in keys), 2: weight.size}
        self._layer("InnerProduct", step["inputs"], value, numbers)
        self._keep(keys)

    def _keep(self, keys: Mapping[str, str]) -> None:
        weight = self._network.weights[keys["weight"]]
        self.weights += [_FLOAT32_TAG, weight.astype("<f4").tobytes()]
        if "bias" in keys:
            self.weights.append(self._network.weights[keys["bias"]].astype("<f4").tobytes())

    def _pool(self, step: Step, value: int) -> None:
        options, is_mean = step["options"], step["operation"] == "avg_pool2d"
        kernel, stride = pair(options["kernel_size"]), pair(options["stride"])
        padding = pair(options["padding"])
        if pair(options.get("dilation", 1)) != (1, 1):
            raise ExportError("ncnn has no pool with gaps between its pixels")
        if is_mean and options["ceil_mode"] and any(padding):
            raise ExportError("ncnn has no mean of cut windows with pixels beyond the edge")
        numbers: dict[int, Any] = {
            0: int(is_mean),
            1: kernel[1],
            11: kernel[0],
            2: stride[1],
            12: stride[0],
            3: padding[1],
            13: padding[0],
            5: 0 if options["ceil_mode"] else 1,
        }
        if is_mean:
            # Of a window that the edge cuts, PyTorch takes the mean of what is there.
            numbers[6] = int(options["count_include_pad"] and any(padding))
        self._layer("Pooling", step["inputs"], value, numbers)


def _uses(steps: Sequence[Step]) -> dict[int, int]:
    """Return how often each value is taken."""
    uses: dict[int, int] = {}
    for step in steps:
        for source in step["inputs"]:
            uses[source] = uses.get(source, 0) + 1
    return uses


def _name(value: int, network: LoweredNetwork) -> str:
    if value == 0:
        return "images"
    return "logits" if value == len(network.steps) else f"value{value}"


def _text(number: float) -> str:
    """Return a number as ncnn reads it: whole ones without a point."""
    return str(number) if isinstance(number, int) else f"{number:.9e}"
