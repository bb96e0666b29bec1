"""Static post-training quantisation of ONNX models to int8.

Weights are int8 with a scale for each output channel, activations uint8 with one scale, the range
that calibration images reach. A quantised model is an ordinary one in which pairs of operators
(QuantizeLinear, DequantizeLinear) stand where values are rounded; a runtime computes in int8 what
lies between them. Hard swish and hard sigmoid have no int8 kernel in the runtimes here: they are
computed in float32, on rounded values.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ofa_pipeline.devices.export import INPUT_NAME
from ofa_pipeline.devices.runtime import MIN_CALIBRATION_IMAGES, Images
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.temporary import temporary_folder

_BATCH_SIZE = 32
"""Images a call of the calibration: all activations of a batch are in memory at a time."""


def quantize_onnx(
    content: bytes, calibration: Sequence[Images], *, float_outputs_of: Sequence[str] = ()
) -> bytes:
    """Return an ONNX model in int8; the same bytes for the same model and images.

    Args:
        content: The model in float32, batch norm folded.
        calibration: Prepared images, in batches (N, 3, H, W).
        float_outputs_of: Operators whose results are not rounded, for a runtime that computes the
            activation behind them in the same kernel.

    Raises:
        DeviceError: If there are too few images.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    require_calibration_images(sum(len(batch) for batch in calibration))
    model = onnx.load_from_string(content)
    add_pre_process_metadata(model)  # batch norm is folded already: it need not ask for that
    with temporary_folder("quantize") as folder, _no_advice():
        path = folder / "model.onnx"
        quantize_static(
            model,
            path,
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": list(float_outputs_of)},
        )
        return path.read_bytes()


def require_calibration_images(count: int) -> None:
    """Check that there are enough images to quantise on.

    Raises:
        DeviceError: If not.
    """
    if count < MIN_CALIBRATION_IMAGES:
        raise DeviceError(
            f"int8 needs at least {MIN_CALIBRATION_IMAGES} calibration images to find the ranges "
            f"of activations, found {count}. Raise dataset.calibration_fraction or "
            "evaluation.calibration_images, or give the device the precision fp32."
        )


@contextmanager
def _no_advice() -> Iterator[None]:
    """Keep back what the quantiser tells the root logger of each linear layer in SE blocks."""
    root, handler = logging.getLogger(), logging.NullHandler()
    before = root.level
    root.addHandler(handler)  # without one, the first message would install one for good
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
        root.removeHandler(handler)


class _Reader:
    """Hands images to the calibration, as `onnxruntime.quantization.CalibrationDataReader`."""

    def __init__(self, batches: Sequence[Images]) -> None:
        """Begin with the first image."""
        self._inputs = _inputs(batches)

    def get_next(self) -> dict[str, Images] | None:
        """Return the next inputs of the model; None at the end."""
        return next(self._inputs, None)


def _inputs(batches: Sequence[Images]) -> Iterator[dict[str, Images]]:
    for batch in batches:
        for start in range(0, len(batch), _BATCH_SIZE):
            yield {INPUT_NAME: batch[start : start + _BATCH_SIZE]}
