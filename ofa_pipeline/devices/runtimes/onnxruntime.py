"""ONNX Runtime, all graph optimisations: float32 on the CPU or a CUDA GPU, int8 on the CPU."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ofa_pipeline.devices.export import onnx_bytes
from ofa_pipeline.devices.quantization import quantize_onnx
from ofa_pipeline.devices.runtime import (
    FP32_TOLERANCE,
    INT8_TOLERANCE,
    Images,
    Runtime,
    Tolerance,
)

if TYPE_CHECKING:
    from torch import nn


class OnnxNetwork:
    """An ONNX file in ONNX Runtime."""

    file_name: ClassVar[str] = "model.onnx"
    code_names: ClassVar[tuple[str, ...]] = ()
    is_code: ClassVar[bool] = False

    def __init__(
        self,
        content: bytes,
        *,
        accelerator: str,
        threads: int,
        import_code: Callable[[str], Any],  # noqa: ARG002 - it needs no other file
        options: dict[str, Any] | None = None,
    ) -> None:
        """Open a session.

        Raises:
            ValueError: If the content is not an ONNX model that the runtime supports.
        """
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as states

        given = {"graph_optimization_level": "ORT_ENABLE_ALL", "allow_spinning": True}
        given |= options or {}
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = threads
        session.inter_op_num_threads = 1
        session.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        levels = onnxruntime.GraphOptimizationLevel.__members__
        session.graph_optimization_level = levels[given["graph_optimization_level"]]
        if not given["allow_spinning"]:
            session.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session.log_severity_level = 4  # what it would print is in the error
        provider = "CUDAExecutionProvider" if accelerator == "cuda" else "CPUExecutionProvider"
        # Float32 as the card says: TF32 keeps 10 of 23 bits.
        settings: dict[str, str] = {"use_tf32": "0"} if accelerator == "cuda" else {}
        try:
            self._session = onnxruntime.InferenceSession(
                content, session, providers=[(provider, settings)]
            )
        except (
            states.Fail,
            states.InvalidGraph,
            states.InvalidProtobuf,
            states.NotImplemented,
        ) as error:
            raise ValueError(str(error)) from error
        found = self._session.get_providers()
        if provider not in found:  # it goes on with the CPU where a library of CUDA is missing
            raise ValueError(
                f"it must compute with {provider}, but does with {', '.join(found)}: CUDA or "
                "cuDNN of the version that this build of ONNX Runtime wants is not found"
            )
        [graph_input] = self._session.get_inputs()
        self._input_name: str = graph_input.name

    def __call__(self, images: Images) -> Images:
        """Return the logits (N, classes) of images (N, 3, H, W)."""
        feed = {self._input_name: np.ascontiguousarray(images)}
        logits: Images = self._session.run(None, feed)[0]
        return logits

    def prepared_call(self, images: Images) -> Callable[[], None]:
        """Return a call of the session, whose threads are its own."""
        session, feed = self._session, {self._input_name: images}

        def call() -> None:
            session.run(None, feed)

        return call

    @staticmethod
    def supports(accelerator: str) -> bool:
        """Tell whether the installed build can compute on an accelerator of this machine."""
        if accelerator == "cpu":
            return True
        import onnxruntime

        return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


class OnnxRuntime(Runtime):
    """ONNX Runtime; the file is the ONNX model that every bundle holds."""

    package = "onnxruntime"
    requirements = ("onnxruntime",)
    how_to_get: ClassVar[Mapping[str, str]] = {
        "cpu": "pip install onnxruntime",
        "cuda": "pip install onnxruntime-gpu, with CUDA and an NVIDIA driver",
    }
    tolerances: ClassVar[Mapping[str, Tolerance]] = {
        "fp32": FP32_TOLERANCE,
        "int8": INT8_TOLERANCE,
    }
    options: ClassVar[Mapping[str, tuple[bool | str, ...]]] = {
        "graph_optimization_level": (
            "ORT_ENABLE_ALL",
            "ORT_ENABLE_EXTENDED",
            "ORT_ENABLE_BASIC",
            "ORT_DISABLE_ALL",
        ),
        "allow_spinning": (True, False),
    }
    network = OnnxNetwork

    def content_of(self, network: "nn.Module", *, resolution_px: int) -> bytes:
        """Return an ONNX model whose batch is as long as the caller wants."""
        return onnx_bytes(network, resolution_px=resolution_px)

    def quantized_content_of(
        self, network: "nn.Module", *, resolution_px: int, calibration: Sequence[Images]
    ) -> bytes:
        """Return an ONNX model in int8: convolutions, linear layers, sums, products and pools."""
        return quantize_onnx(self.content_of(network, resolution_px=resolution_px), calibration)

    @classmethod
    def precisions(cls, accelerator: str) -> tuple[str, ...]:
        """Return float32, and int8 on the CPU: on CUDA it has no int8 convolution."""
        return ("fp32",) if accelerator == "cuda" else ("fp32", "int8")


RUNTIME = OnnxRuntime
