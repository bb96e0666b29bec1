"""What measures the accuracy of a supernet's subnets, wherever that is computed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_pipeline.arch import Arch
from ofa_pipeline.compute import compute_device
from ofa_pipeline.data import Dataset, SplitName, open_dataset
from ofa_pipeline.evaluation.evaluator import SubnetEvaluator
from ofa_pipeline.supernet import Supernet, load_supernet


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyTask:
    """One accuracy to measure."""

    arch: Arch
    calibration_draw: int = 0
    """See `calibration_indices`."""

    @property
    def key(self) -> str:
        """Name of the task in notes of what was measured."""
        return f"{self.arch.arch_id} {self.calibration_draw}"


class AccuracyBench:
    """Measures subnets of one supernet on selection images, as every stage compares them.

    It goes to other processes as the paths that it was made with: each of them opens the dataset
    and the supernet once, when the first subnet is measured.
    """

    def __init__(
        self, dataset: Path, weights: Path, *, calibration_images: int, batch_size: int
    ) -> None:
        """Open nothing yet.

        Args:
            dataset: The prepared dataset.
            weights: Weights of the supernet.
            calibration_images: At most all of the calibration split.
            batch_size: Images a forward pass.
        """
        self._dataset = dataset
        self._weights = weights
        self._calibration_images = calibration_images
        self._batch_size = batch_size
        self._evaluator: SubnetEvaluator | None = None

    @property
    def evaluator(self) -> SubnetEvaluator:
        """The evaluator, with its images in memory."""
        if self._evaluator is None:
            self._evaluator = evaluator_of(
                load_supernet(self._weights),
                open_dataset(self._dataset),
                calibration_images=self._calibration_images,
                batch_size=self._batch_size,
            )
        return self._evaluator

    def __call__(self) -> Callable[[AccuracyTask], dict[str, Any]]:
        """Open dataset and supernet, and return what measures a task."""
        evaluator = self.evaluator

        def measure(task: AccuracyTask) -> dict[str, Any]:
            measured = evaluator.evaluate(task.arch, calibration_draw=task.calibration_draw)
            return {"accuracy_top1": measured.accuracy_top1, "num_images": measured.num_images}

        return measure

    def __reduce__(self) -> tuple[Callable[..., "AccuracyBench"], tuple[object, ...]]:
        """Pickle the paths, not the images."""
        settings = (self._calibration_images, self._batch_size)
        return _unpickled, (self._dataset, self._weights, *settings)


def _unpickled(dataset: Path, weights: Path, images: int, batch_size: int) -> AccuracyBench:
    return AccuracyBench(dataset, weights, calibration_images=images, batch_size=batch_size)


def evaluator_of(
    supernet: Supernet,
    dataset: Dataset,
    *,
    calibration_images: int,
    batch_size: int,
    evaluation_images: int | None = None,
    split: SplitName = "selection",
) -> SubnetEvaluator:
    """Return what evaluates subnets of a supernet on the compute device of this machine.

    Args:
        supernet: Is moved to that device.
        dataset: With calibration images, and those that accuracy is measured on.
        calibration_images: At most all of the calibration split.
        batch_size: Images a forward pass.
        evaluation_images: The first ones of the split; None: all of them.
        split: The split that accuracy is measured on.
    """
    device = compute_device()
    return SubnetEvaluator(
        supernet=supernet.to(device),
        calibration=dataset.split("calibration"),
        evaluation=dataset.split(split),
        normalization=dataset.normalization,
        batch_size=batch_size,
        calibration_images=calibration_images,
        evaluation_images=evaluation_images,
        device=device,
    )
