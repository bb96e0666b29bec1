"""ncnn in float32 on the CPU, for phones and small boards.

The file is written here (`ofa_pipeline.devices.ncnn_file`), in a fraction of a second.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ofa_pipeline.devices.export import name_of
from ofa_pipeline.devices.runtime import FP32_TOLERANCE, Images, Runtime, Tolerance
from ofa_pipeline.errors import ExportError

if TYPE_CHECKING:
    from torch import nn


class NcnnNetwork:
    """A list of layers and their weights in ncnn."""

    file_name: ClassVar[str] = "model.ncnn.zip"
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
        """Read layers and weights.

        Raises:
            ValueError: If the content is not such a zip, or ncnn lacks one of the layers.
        """
        import io
        import tempfile
        import zipfile

        import ncnn

        self._ncnn, self._net = ncnn, ncnn.Net()
        given, settings = options or {}, self._net.opt
        settings.num_threads = threads
        settings.use_vulkan_compute = False
        settings.use_winograd_convolution = given.get("use_winograd_convolution", True)
        settings.use_sgemm_convolution = given.get("use_sgemm_convolution", True)
        settings.use_packing_layout = given.get("use_packing_layout", True)
        # Float32, as the card says: by itself it computes in half the digits where it can.
        settings.use_fp16_packed = settings.use_fp16_storage = False
        settings.use_fp16_arithmetic = False
        settings.use_bf16_packed = settings.use_bf16_storage = False
        # From files: from memory, ncnn would keep pointers to what Python frees.
        with tempfile.TemporaryDirectory() as folder:
            try:
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    paths = [
                        archive.extract(f"network.{kind}", folder) for kind in ("param", "bin")
                    ]
            except (zipfile.BadZipFile, KeyError) as error:
                raise ValueError(f"not a zip of network.param and network.bin: {error}") from error
            if self._net.load_param(paths[0]) or self._net.load_model(paths[1]):
                raise ValueError("ncnn refuses its layers or its weights")

    def __call__(self, images: Images) -> Images:
        """Return the logits (N, classes) of images (N, 3, H, W)."""
        logits: Images = np.stack([np.array(self._extract(one)) for one in self._placed(images)])
        return logits

    def prepared_call(self, images: Images) -> Callable[[], None]:
        """Place the images, which are classified one after the other."""
        placed, extract = self._placed(images), self._extract

        def call() -> None:
            for one in placed:
                extract(one)

        return call

    def _placed(self, images: Images) -> list[Any]:
        """Copy the images: ncnn computes in place in memory that is not its own."""
        return [self._ncnn.Mat(one).clone() for one in np.ascontiguousarray(images)]

    def _extract(self, image: Any) -> Any:  # noqa: ANN401 - both are ncnn's
        extractor = self._net.create_extractor()
        extractor.input("images", image)
        failed, logits = extractor.extract("logits")
        if failed:
            raise ValueError(f"ncnn cannot run the network on such images (code {failed})")
        return logits

    @staticmethod
    def supports(accelerator: str) -> bool:
        """Tell whether it can compute on an accelerator of this machine."""
        return accelerator == "cpu"


class NcnnRuntime(Runtime):
    """ncnn, whose files are zips of layers and weights."""

    package = "ncnn"
    requirements = ("ncnn",)
    how_to_get: ClassVar[Mapping[str, str]] = {"cpu": "pip install 'ofa-pipeline[ncnn]'"}
    tolerances: ClassVar[Mapping[str, Tolerance]] = {"fp32": FP32_TOLERANCE}
    options: ClassVar[Mapping[str, tuple[bool | str, ...]]] = {
        "use_winograd_convolution": (True, False),
        "use_sgemm_convolution": (True, False),
        "use_packing_layout": (True, False),
    }
    network = NcnnNetwork

    def content_of(self, network: "nn.Module", *, resolution_px: int) -> bytes:  # noqa: ARG002
        """Return layers and weights, which do not depend on the resolution.

        Raises:
            ExportError: If ncnn has no layer for something that the network does.
        """
        from ofa_pipeline.devices.ncnn_file import ncnn_bytes
        from ofa_pipeline.devices.steps import lower

        lowered = lower(network)
        try:
            return ncnn_bytes(lowered)
        except ExportError as error:
            raise ExportError(
                f"{name_of(network)} must consist of what ncnn has layers for, but: {error}. "
                "Use other layers, or give the device the runtime pytorch or onnxruntime."
            ) from error


RUNTIME = NcnnRuntime
