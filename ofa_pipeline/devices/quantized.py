"""Subnets in int8 as a device runs them: their files, and how many images these get right."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ofa_pipeline.devices.device import Device
from ofa_pipeline.devices.quantization import require_calibration_images
from ofa_pipeline.devices.runtime import Images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ofa_pipeline.evaluation import SubnetEvaluator
    from ofa_pipeline.supernet import Subnet


class QuantizedFiles:
    """Writes and evaluates the files of a device that computes in int8."""

    def __init__(self, device: Device, evaluator: "SubnetEvaluator") -> None:
        """Take the images of an evaluator: of the calibration split, and those of its evaluation.

        Raises:
            DeviceError: If there are too few images to quantise on.
        """
        require_calibration_images(evaluator.num_calibration_images)
        self._device = device
        self._evaluator = evaluator

    def write(self, subnet: "Subnet", path: Path) -> None:
        """Write the file of a calibrated subnet, whole or not at all."""
        resolution_px = subnet.arch.resolution_px
        images = self._evaluator.calibration_batches(resolution_px)
        self._device.runtime.write(
            subnet,
            path,
            resolution_px=resolution_px,
            calibration=[batch.cpu().numpy() for batch in images],
        )

    def accuracy_top1(self, path: Path, *, resolution_px: int) -> float:
        """Return the fraction of the evaluation images that a file gets right on the device."""
        labels: list[NDArray[np.int64]] = []

        def images() -> Iterator[Images]:
            for batch, of_batch in self._evaluator.images(resolution_px):  # one in memory at a time
                labels.append(of_batch.cpu().numpy())
                yield batch.cpu().numpy()

        logits = self._device.predict(path, images(), resolution_px=resolution_px)
        return float((logits.argmax(axis=1) == np.concatenate(labels)).mean())
