"""LiteRT (TensorFlow Lite) with XNNPACK on the CPU, in float32 and int8: what phones run.

The file is written here (`ofa_pipeline.devices.tflite`), in a fraction of a second.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ofa_pipeline.devices.export import name_of
from ofa_pipeline.devices.quantization import require_calibration_images
from ofa_pipeline.devices.runtime import (
    FP32_TOLERANCE,
    INT8_TOLERANCE,
    Images,
    Runtime,
    Tolerance,
)
from ofa_pipeline.errors import DeviceError, ExportError

if TYPE_CHECKING:
    from torch import nn


class LiteRtNetwork:
    """A ``.tflite`` file in LiteRT."""

    file_name: ClassVar[str] = "model.tflite"
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
        """Open the file.

        Raises:
            ValueError: If the content is not such a file, or has operators that LiteRT lacks.
        """
        import os
        from threading import Lock

        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = (options or {}).get("op_resolver_type", "AUTO")
        self._content = content  # the interpreter does not copy it
        # It writes a line about XNNPACK to the standard error, which nothing else keeps back.
        stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            self._interpreter = Interpreter(
                model_content=content,
                num_threads=threads,
                experimental_op_resolver_type=OpResolverType[resolver],
            )
            self._interpreter.allocate_tensors()
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            os.close(nowhere)
        [images] = self._interpreter.get_input_details()
        self._input: int = images["index"]
        self._image_shape: list[int] = images["shape"][1:].tolist()
        self._output: int = self._interpreter.get_output_details()[0]["index"]
        self._batch_size = 1
        self._turn = Lock()

    def __call__(self, images: Images) -> Images:
        """Return the logits (N, classes) of images (N, 3, H, W); threads take turns."""
        with self._turn:  # images and logits lie in the interpreter
            self._place(images)
            self._interpreter.invoke()
            logits: Images = self._interpreter.get_tensor(self._output)
        return logits

    def prepared_call(self, images: Images) -> Callable[[], None]:
        """Place the images."""
        self._place(images)
        invoke = self._interpreter.invoke

        def call() -> None:
            invoke()

        return call

    def _place(self, images: Images) -> None:
        """Hand over the images, and make room for as many; those of another size are refused."""
        if len(images) != self._batch_size:
            shape = [len(images), *self._image_shape]
            self._interpreter.resize_tensor_input(self._input, shape)
            self._interpreter.allocate_tensors()
            self._batch_size = len(images)
        self._interpreter.set_tensor(self._input, np.ascontiguousarray(images))

    @staticmethod
    def supports(accelerator: str) -> bool:
        """Tell whether it can compute on an accelerator of this machine."""
        return accelerator == "cpu"


class LiteRtRuntime(Runtime):
    """LiteRT, whose files are flat buffers."""

    package = "ai-edge-litert"
    requirements = ("ai-edge-litert",)
    how_to_get: ClassVar[Mapping[str, str]] = {"cpu": "pip install 'ofa-pipeline[litert]'"}
    tolerances: ClassVar[Mapping[str, Tolerance]] = {
        "fp32": FP32_TOLERANCE,
        "int8": INT8_TOLERANCE,
    }
    options: ClassVar[Mapping[str, tuple[bool | str, ...]]] = {
        "op_resolver_type": ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")  # the latter: no XNNPACK
    }
    network = LiteRtNetwork

    def content_of(self, network: "nn.Module", *, resolution_px: int) -> bytes:
        """Return a file whose batch is as long as the caller wants.

        Raises:
            DeviceError: If the package is not installed, which has the format's schema.
            ExportError: If LiteRT has no operator for something that the network does.
        """
        return self._write(network, resolution_px, ())

    def quantized_content_of(
        self, network: "nn.Module", *, resolution_px: int, calibration: Sequence[Images]
    ) -> bytes:
        """Return a file in int8 throughout; images and logits stay in float32."""
        require_calibration_images(sum(len(batch) for batch in calibration))
        return self._write(network, resolution_px, calibration)

    def _write(
        self, network: "nn.Module", resolution_px: int, calibration: Sequence[Images]
    ) -> bytes:
        from ofa_pipeline.devices.steps import lower, ranges_of, shapes_of
        from ofa_pipeline.devices.tflite import tflite_bytes

        lowered = lower(network)
        try:
            return tflite_bytes(
                lowered,
                shapes_of(lowered, resolution_px=resolution_px),
                ranges=ranges_of(lowered, calibration) if calibration else None,
            )
        except ImportError as error:
            raise DeviceError(
                f"a file for LiteRT is written with its package, which is not installed: "
                f"{self.how_to_get['cpu']}"
            ) from error
        except ExportError as error:
            raise ExportError(
                f"{name_of(network)} must consist of what LiteRT has operators for, but: {error}. "
                "Use other layers, or give the device the runtime pytorch or onnxruntime."
            ) from error


RUNTIME = LiteRtRuntime
