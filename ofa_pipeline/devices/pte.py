"""Values and nodes of a ``.pte`` file of ExecuTorch in which XNNPACK computes everything.

The file is a program with one instruction: hand the images to XNNPACK. Beside it lies what XNNPACK
reads, a graph and its constants. Both are flat buffers; the compiler and the schemas of them come
with ExecuTorch, whose Python modules are not imported: they would take ten seconds. The last 32
bytes are the SHA-256 of all before them; ExecuTorch does not look at them.
"""

import hashlib
import importlib.metadata
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.devices.rounding import Quantization
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.temporary import temporary_folder

MAX_BATCH_SIZE = 256
"""Images a call: room for so many logits is planned in the file."""
NONE = 2**32 - 1
"""The number of no value."""
_COMPILER = "data/bin/flatc"
_GRAPH_SCHEMA = "backends/xnnpack/serialization/schema.fbs"
_PROGRAM_SCHEMA = "exir/_serialize/program.fbs"
_INPUT, _OUTPUT = 1, 2
"""Flags of values that come from, or go to, the program."""
_CONSTANT_ALIGNMENT, _SEGMENT_ALIGNMENT = 16, 128
_GRAPH_HEADER, _PROGRAM_HEADER = 30, 32
"""Bytes of the headers of XNNPACK's part and of the whole file."""


class Builder:
    """Collects the values and nodes of a graph."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._values: list[dict[str, Any]] = []
        self._quantizations: dict[int, Quantization] = {}
        self._nodes: list[dict[str, Any]] = []
        self._constants = bytearray()
        self._places = [{"offset": 0, "size": 0}]  # the first one is that of no constant

    def value(self, shape: Sequence[int], quantization: Quantization | None = None) -> int:
        """Add what a node makes, in int8 if it has a scale; return its number."""
        return self._add(shape, "fp32" if quantization is None else "qint8", quantization)

    def images(self, shape: Sequence[int]) -> int:
        """Add what comes from the program; return its number."""
        return self._add(shape, "fp32", external_id=0, flags=_INPUT)

    def logits(self, shape: Sequence[int]) -> int:
        """Add what goes to the program; return its number."""
        return self._add(shape, "fp32", external_id=1, flags=_OUTPUT)

    def constant(self, content: NDArray[Any], quantization: Quantization | None = None) -> int:
        """Add numbers that stand in the file, with one scale in int8; return their number."""
        kind = "fp32" if quantization is None else "qint8"
        return self._add(content.shape, kind, quantization, place=self._place(content))

    def weight(self, content: NDArray[Any], quantization: Quantization) -> int:
        """Add int8 or int32 that stand in the file, with a scale a channel; return their number."""
        kind = "qcint8" if content.dtype == np.int8 else "qcint32"
        number = self._add(content.shape, kind, place=self._place(content))
        per_channel = {"scale": quantization.scale.tolist(), "channel_dim": quantization.axis}
        self._quantize(number, "PerChannelQuant", per_channel)
        return number

    def quantization_of(self, value: int) -> Quantization:
        """Return the scale of a value in int8."""
        return self._quantizations[value]

    def node(
        self,
        kind: str,
        *,
        limits: tuple[float, float] | None = None,
        **fields: int | Sequence[int],
    ) -> None:
        """Add a node; its kind and fields are called as in the schema.

        Args:
            kind: Without the letters XNN.
            limits: Lowest and highest number that it may make.
            fields: All that the schema has for the kind but flags that are 0.
        """
        node = {
            "xnode_union_type": f"XNN{kind}",
            "xnode_union": fields,
            "debug_handle": len(self._nodes),
        }
        if limits is not None:
            node["output_min_max"] = {"output_min": limits[0], "output_max": limits[1]}
        self._nodes.append(node)

    def finish(self, images: int, logits: int) -> bytes:
        """Return the content of the file.

        Raises:
            DeviceError: If ExecuTorch is not installed, which has the compiler.
        """
        graph = {
            "version": "0",
            "xnodes": self._nodes,
            "xvalues": self._values,
            "num_externs": 2,
            "input_ids": [images],
            "output_ids": [logits],
            "constant_data": self._places,
        }
        delegated = _with_constants(_compile(_GRAPH_SCHEMA, graph), bytes(self._constants))
        of_images, of_logits = (
            [MAX_BATCH_SIZE, *self._values[number]["xvalue_union"]["dims"][1:]]
            for number in (images, logits)
        )
        program = _program(of_images, of_logits, delegated)
        content = _with_segment(_compile(_PROGRAM_SCHEMA, program), delegated)
        return content + hashlib.sha256(content).digest()

    def _add(
        self,
        shape: Sequence[int],
        kind: str,
        quantization: Quantization | None = None,
        *,
        place: int = 0,
        external_id: int = NONE,
        flags: int = 0,
    ) -> int:
        number = len(self._values)
        value = {
            "datatype": f"xnn_datatype_{kind}",
            "num_dims": len(shape),
            "dims": list(shape),
            "constant_buffer_idx": place,
            "external_id": external_id,
            "flags": flags,
            "id_out": number,
        }
        self._values.append({"xvalue_union_type": "XNNTensorValue", "xvalue_union": value})
        if quantization is not None:
            self._quantizations[number] = quantization
            scale = float(quantization.scale[0])
            per_tensor = {"scale": scale, "zero_point": quantization.zero_point}
            self._quantize(number, "PerTensorQuant", per_tensor)
        return number

    def _quantize(self, number: int, kind: str, parameters: Mapping[str, Any]) -> None:
        self._values[number] = {
            "xvalue_union_type": "XNNQuantizedTensorValue",
            "xvalue_union": {
                "tensor_value": self._values[number]["xvalue_union"],
                "quant_params_type": kind,
                "quant_params": parameters,
            },
        }

    def _place(self, content: NDArray[Any]) -> int:
        """Append a constant; return its number in the list of places."""
        raw = content.tobytes()
        self._constants.extend(bytes(-len(self._constants) % _CONSTANT_ALIGNMENT))
        self._places.append({"offset": len(self._constants), "size": len(raw)})
        self._constants.extend(raw)
        return len(self._places) - 1


def _program(images: list[int], logits: list[int], delegated: bytes) -> dict[str, Any]:
    """Return a program that hands images to XNNPACK; their number may be lower than here."""
    room = 4 * logits[0] * logits[1]
    planned = {"memory_id": 1, "memory_offset_low": 0, "memory_offset_high": 0}
    call = {"delegate_index": 0, "args": [0, 1]}
    plan = {
        "name": "forward",
        "container_meta_type": {"encoded_inp_str": "", "encoded_out_str": ""},
        "values": [_tensor(images), _tensor(logits, allocation_info=planned)],
        "inputs": [0],
        "outputs": [1],
        "chains": [
            {
                "inputs": [],
                "outputs": [],
                "instructions": [{"instr_args_type": "DelegateCall", "instr_args": call}],
            }
        ],
        "operators": [],
        "delegates": [
            {
                "id": "XnnpackBackend",
                "processed": {"location": "SEGMENT", "index": 1},
                "compile_specs": [],
            }
        ],
        "non_const_buffer_sizes": [0, _aligned(room, _CONSTANT_ALIGNMENT)],
    }
    return {
        "version": 0,
        "execution_plan": [plan],
        "constant_segment": {"segment_index": 0, "offsets": [0]},  # of constants of its own: none
        "segments": [{"offset": 0, "size": 0}, {"offset": 0, "size": len(delegated)}],
    }


def _tensor(sizes: list[int], **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - as in the schema
    tensor = {
        "scalar_type": "FLOAT",
        "sizes": sizes,
        "dim_order": list(range(len(sizes))),
        "shape_dynamism": "DYNAMIC_BOUND",
        **fields,
    }
    return {"val_type": "Tensor", "val": tensor}


def _with_constants(graph: bytes, constants: bytes) -> bytes:
    """Return what XNNPACK reads: where graph and constants are, and these."""
    start = _aligned(_GRAPH_HEADER, _CONSTANT_ALIGNMENT)
    place = start + _aligned(len(graph), _CONSTANT_ALIGNMENT)
    header = b"".join(
        (
            bytes(4),
            b"XH00",
            _number(_GRAPH_HEADER, 2),
            _number(start, 4),
            _number(len(graph), 4),
            _number(place, 4),
            _number(len(constants), 8),
        )
    )
    return (header.ljust(start, b"\0") + graph).ljust(place, b"\0") + constants


def _with_segment(program: bytes, segment: bytes) -> bytes:
    """Return a program, with a header in it that says where the segment behind it begins."""
    size = len(program) + _PROGRAM_HEADER
    place = _aligned(size, _SEGMENT_ALIGNMENT)
    root = int.from_bytes(program[:4], "little") + _PROGRAM_HEADER
    header = b"".join(
        (
            b"eh00",
            _number(_PROGRAM_HEADER, 4),
            _number(size, 8),
            _number(place, 8),
            _number(len(segment), 8),
        )
    )
    head = _number(root, 4) + program[4:8] + header + program[8:]
    return head.ljust(place, b"\0") + segment


def _compile(schema: str, document: Mapping[str, Any]) -> bytes:
    """Return a document as a flat buffer of a schema of ExecuTorch."""
    try:
        package = importlib.metadata.distribution("executorch")
    except importlib.metadata.PackageNotFoundError as error:
        raise DeviceError(
            "a file for ExecuTorch is written with its compiler, which is not installed: "
            "pip install 'ofa-pipeline[executorch]'"
        ) from error
    compiler, path = (
        str(package.locate_file(f"executorch/{name}")) for name in (_COMPILER, schema)
    )
    with temporary_folder("executorch") as folder:
        source = folder / "document"
        source.write_text(json.dumps(document))
        command = [compiler, "--binary", "-o", str(folder), path, str(source)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        written = [made for made in folder.iterdir() if made != source]
        if ended.returncode or len(written) != 1:
            raise DeviceError(
                f"ExecuTorch {package.version} must compile the schema {Path(schema).name}, but "
                f"said: {(ended.stdout + ended.stderr).strip()}"
            )
        return written[0].read_bytes()


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")
