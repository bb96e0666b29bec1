"""Tensors and operators of a ``.tflite`` file, put together with LiteRT's own schema."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.devices.rounding import Quantization

_OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "ADD": "AddOptions",
    "MUL": "MulOptions",
    "MEAN": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "TRANSPOSE": "TransposeOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "HARD_SWISH": "HardSwishOptions",
    "QUANTIZE": "QuantizeOptions",
    "DEQUANTIZE": "DequantizeOptions",
}
"""What an operator is told beside its tensors; those that are not here are told nothing."""
_VERSIONS = {"FULLY_CONNECTED": 5}
_INT8_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 5, "HARD_SWISH": 1}
"""First versions of operators that can do what is asked: 1 in float32, 2 in int8 unless said."""
_ENUMS = {"padding": "Padding", "fusedActivationFunction": "ActivationFunctionType"}
_SCHEMA_VERSION = 3
_IDENTIFIER = b"TFL3"


class Builder:
    """Collects the parts of a file."""

    def __init__(self) -> None:
        """Start with nothing; needs the package of LiteRT."""
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._tensors: list[Any] = []
        self._quantizations: dict[int, Quantization] = {}
        self._buffers: list[Any] = [schema.BufferT()]  # the first one is that of no content
        self._operators: list[Any] = []
        self._codes: dict[tuple[str, int], int] = {}

    def tensor(
        self, name: str, shape: Sequence[int], quantization: Quantization | None = None
    ) -> int:
        """Add what an operator makes, in int8 if it has a scale; return its number."""
        return self._add(
            name, shape, np.dtype(np.int8 if quantization else np.float32), quantization
        )

    def constant(
        self, name: str, content: NDArray[Any], quantization: Quantization | None = None
    ) -> int:
        """Add a tensor that stands in the file; return its number."""
        number = self._add(name, content.shape, content.dtype, quantization)
        self._tensors[number].buffer = len(self._buffers)
        self._buffers.append(self._schema.BufferT(data=np.frombuffer(content.tobytes(), np.uint8)))
        return number

    def quantization_of(self, tensor: int) -> Quantization:
        """Return the scale of a tensor in int8."""
        return self._quantizations[tensor]

    def operator(self, name: str, inputs: Sequence[int], output: int, **options: Any) -> None:  # noqa: ANN401 - numbers, words
        """Add an operator; its options are called as in the schema."""
        schema = self._schema
        made = None
        if name in _OPTIONS:
            values = {
                key: getattr(getattr(schema, _ENUMS[key]), value) if key in _ENUMS else value
                for key, value in options.items()
            }
            made = getattr(schema, f"{_OPTIONS[name]}T")(**values)
        self._operators.append(
            schema.OperatorT(
                opcodeIndex=self._code(name, is_int8=output in self._quantizations),
                inputs=np.array(inputs, np.int32),
                outputs=np.array([output], np.int32),
                builtinOptionsType=getattr(schema.BuiltinOptions, _OPTIONS.get(name, "NONE")),
                builtinOptions=made,
            )
        )

    def finish(self, graph_input: int, graph_output: int) -> bytes:
        """Return the content of the file."""
        import flatbuffers

        schema = self._schema
        graph = schema.SubGraphT(
            name="main",
            tensors=self._tensors,
            operators=self._operators,
            inputs=np.array([graph_input], np.int32),
            outputs=np.array([graph_output], np.int32),
        )
        codes = [
            schema.OperatorCodeT(
                # Readers from before 2020 know the first 127 by a byte.
                deprecatedBuiltinCode=getattr(schema.BuiltinOperator, name),
                builtinCode=getattr(schema.BuiltinOperator, name),
                version=version,
            )
            for name, version in self._codes
        ]
        model = schema.ModelT(
            version=_SCHEMA_VERSION,
            operatorCodes=codes,
            subgraphs=[graph],
            buffers=self._buffers,
            description="once-for-all subnet",
        )
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    def _add(
        self,
        name: str,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        quantization: Quantization | None,
    ) -> int:
        schema, number = self._schema, len(self._tensors)
        quantized = None
        if quantization is not None:
            self._quantizations[number] = quantization
            quantized = schema.QuantizationParametersT(
                scale=quantization.scale,
                zeroPoint=np.full(len(quantization.scale), quantization.zero_point, np.int64),
                quantizedDimension=quantization.axis,
            )
        self._tensors.append(
            schema.TensorT(
                name=name,
                shape=np.array(shape, np.int32),
                type=getattr(schema.TensorType, dtype.name.upper()),
                quantization=quantized,
                hasRank=True,
            )
        )
        return number

    def _code(self, name: str, *, is_int8: bool) -> int:
        """Return the number of an operator in the list of those that the file uses."""
        version = _INT8_VERSIONS.get(name, 2) if is_int8 else _VERSIONS.get(name, 1)
        return self._codes.setdefault((name, version), len(self._codes))
