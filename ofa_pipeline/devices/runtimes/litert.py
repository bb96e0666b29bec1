"""LiteRT (TensorFlow Lite) with XNNPACK on the CPU, in float32 and int8: what phones run.

The file is written here (`ofa_pipeline.devices.tflite`), in a fraction of a second.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ofa_pipeline.devices.from_steps import FromSteps
from ofa_pipeline.devices.runtime import Images
from ofa_pipeline.errors import DeviceError

if TYPE_CHECKING:
    from ofa_pipeline.devices.steps import LoweredNetwork


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


class LiteRtRuntime(FromSteps):
    """LiteRT, whose files are flat buffers."""

    package = "ai-edge-litert"
    requirements = ("ai-edge-litert",)
    how_to_get: ClassVar[Mapping[str, str]] = {"cpu": "pip install 'ofa-pipeline[litert]'"}
    vocabulary = "what LiteRT has operators for"
    options: ClassVar[Mapping[str, tuple[bool | str, ...]]] = {
        "op_resolver_type": ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")  # the latter: no XNNPACK
    }
    network = LiteRtNetwork
    phone_script = "phone_litert.py"

    def bytes_of(
        self,
        network: "LoweredNetwork",
        shapes: Sequence[tuple[int, ...]],
        *,
        ranges: Sequence[tuple[float, float]] | None,
    ) -> bytes:
        """Return a flat buffer; see `FromSteps.bytes_of`."""
        from ofa_pipeline.devices.tflite import tflite_bytes

        try:
            return tflite_bytes(network, shapes, ranges=ranges)
        except ImportError as error:
            raise DeviceError(
                f"a file for LiteRT is written with its package, which is not installed: "
                f"{self.how_to_get['cpu']}"
            ) from error


RUNTIME = LiteRtRuntime
