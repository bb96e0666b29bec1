"""From steps and weights to an ONNX model.

It says the same as torch's TorchScript exporter did: one operator a step, weights under their own
names, the batch left to the caller. Operators that the runtimes here have as one stay one.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa_pipeline.devices.export import INPUT_NAME, OPSET, OUTPUT_NAME
from ofa_pipeline.devices.steps import LoweredNetwork, Step, pair
from ofa_pipeline.errors import ExportError, shorten

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

IR_VERSION = 8
"""Of the file format: the one of the releases that brought this operator set."""
_BATCH = "batch"
_IMAGE_RANK = 4
_VECTOR_RANK = 2
_PLAIN: Mapping[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "hardswish": ("HardSwish", {}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "mean_over_pixels": ("ReduceMean", {"axes": [2, 3], "keepdims": 0}),
    "add": ("Add", {}),
    "multiply": ("Mul", {}),
}
"""Operators that take values alone, with their attributes."""
_CONSTANTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "relu6": ("Clip", {"zero": np.float32(0), "six": np.float32(6)}),
    "as_pixel": ("Unsqueeze", {"pixel_axes": np.array([2, 3], np.int64)}),
}
"""Operators that take numbers besides a value, with these by their names in the file."""


def onnx_model_bytes(network: LoweredNetwork, *, resolution_px: int) -> bytes:
    """Return the content of a file; the same bytes for the same network.

    Args:
        network: From images (N, 3, H, W) to logits.
        resolution_px: H and W.

    Raises:
        ExportError: If ONNX has no operator for a step, or it does not fit the images.
    """
    import onnx

    writer = _Writer(network)
    for index, step in enumerate(network.steps):
        writer.add(index + 1, step)
    model = _checked(writer, resolution_px)
    # The weights, which inference of shapes would copy, come last.
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(weight, name) for name, weight in writer.weights.items()
    )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


class _Writer:
    """Collects operators, and the weights and numbers that they take."""

    def __init__(self, network: LoweredNetwork) -> None:
        self._network = network
        self._ranks = {0: _IMAGE_RANK}
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, Any] = {}
        self.constants: dict[str, Any] = {}

    def add(self, value: int, step: Step) -> None:
        """Add the step that makes a value.

        Raises:
            ExportError: If ONNX has no operator for it.
        """
        operation = step["operation"]
        self._ranks[value] = self._rank_after(step)
        if operation in _PLAIN:
            operator, attributes = _PLAIN[operation]
            self._operator(operator, step, value, **attributes)
        elif operation in _CONSTANTS:
            operator, numbers = _CONSTANTS[operation]
            self.constants |= numbers
            self._operator(operator, step, value, besides=tuple(numbers))
        elif operation == "conv2d":
            self._convolve(step, value)
        elif operation == "linear":
            self._multiply_matrix(step, value)
        elif operation in ("max_pool2d", "avg_pool2d"):
            self._pool(step, value)
        else:
            raise ExportError(f"ONNX has no operator for the step {operation}")

    def _rank_after(self, step: Step) -> int:
        rank = max(self._ranks[source] for source in step["inputs"])
        return rank + {"mean_over_pixels": -2, "as_pixel": 2}.get(step["operation"], 0)

    def _operator(
        self,
        operator: str,
        step: Step,
        value: int,
        *,
        besides: Sequence[str] = (),
        **attributes: Any,  # noqa: ANN401 - ONNX's
    ) -> None:
        """Add an operator on the inputs of a step, and on weights or numbers besides."""
        inputs = [*(self._name(source) for source in step["inputs"]), *besides]
        self._node(operator, inputs, self._name(value), name=_node_name(step, value), **attributes)

    def _node(
        self,
        operator: str,
        inputs: Sequence[str],
        output: str,
        *,
        name: str,
        **attributes: Any,  # noqa: ANN401 - ONNX's
    ) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))

    def _convolve(self, step: Step, value: int) -> None:
        options = step["options"]
        keys = [step["weights"][name] for name in ("weight", "bias") if name in step["weights"]]
        self.weights |= {key: self._network.weights[key] for key in keys}
        self._operator(
            "Conv",
            step,
            value,
            besides=keys,
            kernel_shape=self._network.weights[keys[0]].shape[2:],
            strides=pair(options["stride"]),
            pads=pair(options["padding"]) * 2,
            dilations=pair(options["dilation"]),
            group=options["groups"],
        )

    def _multiply_matrix(self, step: Step, value: int) -> None:
        """Add a linear layer: one operator, unless it has a bias and is one of each pixel."""
        key, bias = step["weights"]["weight"], step["weights"].get("bias")
        weight = self._network.weights[key]
        if bias is not None:
            self.weights[bias] = self._network.weights[bias]
        if bias is not None and self._ranks[value] == _VECTOR_RANK:
            self.weights[key] = weight
            self._operator("Gemm", step, value, besides=(key, bias), transB=1)
            return
        transposed = f"{key}.transposed"
        self.weights[transposed] = np.ascontiguousarray(weight.T)
        if bias is None:
            self._operator("MatMul", step, value, besides=(transposed,))
            return
        [source] = step["inputs"]
        name, product = _node_name(step, value), f"product{value}"
        self._node("MatMul", [self._name(source), transposed], product, name=f"{name}.product")
        self._node("Add", [product, bias], self._name(value), name=name)

    def _pool(self, step: Step, value: int) -> None:
        options = step["options"]
        attributes: dict[str, Any] = {
            "kernel_shape": pair(options["kernel_size"]),
            "strides": pair(options["stride"]),
            "pads": pair(options["padding"]) * 2,
            "ceil_mode": int(options["ceil_mode"]),
        }
        if step["operation"] == "max_pool2d":
            attributes["dilations"] = pair(options["dilation"])
            self._operator("MaxPool", step, value, **attributes)
        else:
            attributes["count_include_pad"] = int(options["count_include_pad"])
            self._operator("AveragePool", step, value, **attributes)

    def _name(self, value: int) -> str:
        if value == 0:
            return INPUT_NAME
        return OUTPUT_NAME if value == len(self._network.steps) else f"value{value}"


def _node_name(step: Step, value: int) -> str:
    """Return what viewers and messages call an operator: its layer's name, or what it does."""
    weights = step.get("weights")
    return weights["weight"].removesuffix(".weight") if weights else f"{step['operation']}{value}"


def _checked(writer: _Writer, resolution_px: int) -> "ModelProto":
    """Return the model without weights, with all shapes, as ONNX's own checker accepts it.

    Raises:
        ExportError: If it does not.
    """
    import onnx
    from onnx import helper

    images = _described(INPUT_NAME, (_BATCH, 3, resolution_px, resolution_px))
    weights = [_described(name, weight.shape) for name, weight in writer.weights.items()]
    graph = helper.make_graph(
        writer.nodes,
        "network",
        [images, *weights],
        [_described(OUTPUT_NAME, None)],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in writer.constants.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="ofa-pipeline",
    )
    try:
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(model)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise ExportError(
            f"ONNX does not accept it for {resolution_px} px: {shorten(str(error), 300)}"
        ) from error
    del model.graph.input[1:]
    return model


def _described(name: str, shape: "Sequence[int | str] | None") -> "ValueInfoProto":
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
