"""OpenVINO on the CPU in float32 and int8: its own default is bfloat16 where the CPU has it."""

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


class OpenVinoNetwork:
    """An ONNX file in OpenVINO."""

    file_name: ClassVar[str] = "model.onnx"
    code_names: ClassVar[tuple[str, ...]] = ()
    is_code: ClassVar[bool] = False

    def __init__(
        self,
        content: bytes,
        *,
        accelerator: str,  # noqa: ARG002 - it supports one
        threads: int,
        import_code: Callable[[str], Any],  # noqa: ARG002 - it needs no other file
        options: dict[str, Any] | None = None,
    ) -> None:
        """Read the file; it is compiled for the images that come.

        Raises:
            ValueError: If the content is not an ONNX model that the runtime supports.
        """
        import sys
        from io import BytesIO
        from types import ModuleType

        # Importing OpenVINO starts its reports of usage, unless their package is none.
        sys.modules.setdefault("openvino_telemetry", ModuleType("openvino_telemetry"))
        import openvino

        self._openvino, self._core = openvino, openvino.Core()
        self._settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # threads stay on the cores that the caller may use
            **(options or {}),
        }
        self._options = options or {}
        try:
            self._model = self._core.read_model(BytesIO(content))
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        self._compiled: dict[int | None, Any] = {}

    def __call__(self, images: Images) -> Images:
        """Return the logits (N, classes) of images (N, 3, H, W)."""
        # One image, the common call, is worth a graph of its own; all other batches share one.
        compiled = self._compile(images if len(images) == 1 else None)
        [logits] = compiled.create_infer_request().infer([np.ascontiguousarray(images)]).values()
        answer: Images = logits
        return answer

    def prepared_call(self, images: Images) -> Callable[[], None]:
        """Compile for as many images and place them: an open batch would be 1.5 times slower."""
        request = self._compile(images).create_infer_request()
        request.set_input_tensor(self._openvino.Tensor(images))

        def call() -> None:
            request.infer()

        return call

    def _compile(self, images: Images | None) -> Any:  # noqa: ANN401 - the runtime is imported late
        """Return the network for a batch as long as `images`, or for any batch."""
        size = None if images is None else len(images)
        if size not in self._compiled:
            model = self._model.clone()
            try:
                if images is not None:
                    model.reshape(list(images.shape))
                compiled = self._core.compile_model(model, "CPU", self._settings)
            except RuntimeError as error:
                raise ValueError(str(error)) from error
            for name, value in self._options.items():
                # What a processor lacks, such as cores of two kinds, it passes over in silence.
                if (found := str(compiled.get_property(name)).rpartition(".")[2]) != str(value):
                    raise ValueError(f"{name} cannot be {value} on this machine, it is {found}")
            self._compiled[size] = compiled
        return self._compiled[size]

    @staticmethod
    def supports(accelerator: str) -> bool:
        """Tell whether it can compute on an accelerator of this machine."""
        return accelerator == "cpu"


class OpenVinoRuntime(Runtime):
    """OpenVINO, which reads the ONNX model that every bundle holds."""

    package = "openvino"
    requirements = ("openvino",)
    how_to_get: ClassVar[Mapping[str, str]] = {"cpu": "pip install 'ofa-pipeline[openvino]'"}
    tolerances: ClassVar[Mapping[str, Tolerance]] = {
        "fp32": FP32_TOLERANCE,
        "int8": INT8_TOLERANCE,
    }
    options: ClassVar[Mapping[str, tuple[bool | str, ...]]] = {
        "SCHEDULING_CORE_TYPE": ("ANY_CORE", "PCORE_ONLY", "ECORE_ONLY"),
        "ENABLE_HYPER_THREADING": (False, True),
        "CPU_DENORMALS_OPTIMIZATION": (False, True),
    }
    network = OpenVinoNetwork

    def content_of(self, network: "nn.Module", *, resolution_px: int) -> bytes:
        """Return an ONNX model whose batch is as long as the caller wants."""
        return onnx_bytes(network, resolution_px=resolution_px)

    def quantized_content_of(
        self, network: "nn.Module", *, resolution_px: int, calibration: Sequence[Images]
    ) -> bytes:
        """Return an ONNX model in int8, as fast here as one that NNCF quantised.

        It computes convolution and hard swish in one kernel, if nothing is rounded between them.
        """
        return quantize_onnx(
            self.content_of(network, resolution_px=resolution_px),
            calibration,
            float_outputs_of=("Conv",),
        )


RUNTIME = OpenVinoRuntime
