"""A runtime whose files are written here from steps, in float32 and in int8 throughout."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from ofa_pipeline.devices.export import name_of
from ofa_pipeline.devices.quantization import require_calibration_images
from ofa_pipeline.devices.runtime import (
    FP32_TOLERANCE,
    INT8_TOLERANCE,
    Images,
    Runtime,
    Tolerance,
)
from ofa_pipeline.errors import ExportError

if TYPE_CHECKING:
    from torch import nn

    from ofa_pipeline.devices.steps import LoweredNetwork


class FromSteps(Runtime):
    """What such runtimes have in common: only the format is their own."""

    tolerances: ClassVar[Mapping[str, Tolerance]] = {
        "fp32": FP32_TOLERANCE,
        "int8": INT8_TOLERANCE,
    }
    vocabulary: ClassVar[str]
    """What a network must consist of, for messages: what XNNPACK has nodes for."""

    @abstractmethod
    def bytes_of(
        self,
        network: "LoweredNetwork",
        shapes: Sequence[tuple[int, ...]],
        *,
        ranges: Sequence[tuple[float, float]] | None,
    ) -> bytes:
        """Return the content of a file.

        Args:
            network: Steps and weights.
            shapes: Of each value for one image, (1, C, H, W) or (1, C).
            ranges: Lowest and highest number in each value, for int8; None: float32.

        Raises:
            DeviceError: If the package is not installed, which has the schema of the format.
            ExportError: If the format cannot say a step.
        """

    def content_of(self, network: "nn.Module", *, resolution_px: int) -> bytes:
        """Return a file whose batch is as long as the caller wants; errors: see `bytes_of`."""
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

        lowered = lower(network)
        try:
            return self.bytes_of(
                lowered,
                shapes_of(lowered, resolution_px=resolution_px),
                ranges=ranges_of(lowered, calibration) if calibration else None,
            )
        except ExportError as error:
            raise ExportError(
                f"{name_of(network)} must consist of {self.vocabulary}, but: {error}. "
                "Use other layers, or give the device the runtime pytorch or onnxruntime."
            ) from error
