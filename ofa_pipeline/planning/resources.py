"""The disk and the memory that a run needs, about."""

from typing import TYPE_CHECKING

from ofa_pipeline.cost import arch_cost
from ofa_pipeline.planning.work import WorkOfRun

if TYPE_CHECKING:
    from ofa_pipeline.planning.survey import SourceSurvey

_BYTES_A_WEIGHT = 4
_LOSSLESS_UP_TO_PX = 96
_PNG_BYTES_A_PIXEL, _JPEG_BYTES_A_PIXEL = 1.8, 0.7
"""Of photos in colour, as `prepare_dataset` stores them."""
_ASPECT = 1.35
"""Longer side of a photo, in shorter ones."""
_KEPT_IN_MEMORY_BYTES = 1 << 30
"""A split with more is read anew each time."""
_COPIES = 2
"""Of each artifact: in the workspace and in DVC's cache, unless the file system shares them."""
_CHECKPOINTS, _WEIGHTS_IN_A_CHECKPOINT = 2, 2
_FILES_OF_A_BUNDLE = 3
"""Weights, the exported network, and what the device runs."""
_BUNDLE_COPIES = _COPIES + 2
"""Besides: scratch and MLflow."""


def dataset_bytes(survey: "SourceSurvey", *, image_size_px: int, num_images: int) -> float:
    """Return what the prepared images take, about."""
    side = min(image_size_px, survey.shorter_side_px(0.5))
    per_pixel = _PNG_BYTES_A_PIXEL if side <= _LOSSLESS_UP_TO_PX else _JPEG_BYTES_A_PIXEL
    stored = per_pixel * _ASPECT * side**2
    if survey.shorter_side_px(0.5) <= image_size_px:  # kept as they are
        stored = survey.file_bytes
    return num_images * min(stored, survey.file_bytes)


def disk_bytes(work: WorkOfRun, *, dataset: float, num_budgets: int) -> float:
    """Return what a run of everything adds to the disk.

    Args:
        work: The work of the run.
        dataset: Bytes of the prepared images.
        num_budgets: Of all devices together: a subnet each.
    """
    largest = arch_cost(work.space, work.space.largest, num_classes=work.num_classes)
    weights = _BYTES_A_WEIGHT * largest.num_params
    supernets = _COPIES * len(work.params.phases) + bool(work.params.training.initial_weights)
    checkpoints = _CHECKPOINTS * _WEIGHTS_IN_A_CHECKPOINT
    bundles = _BUNDLE_COPIES * _FILES_OF_A_BUNDLE * num_budgets
    return _COPIES * dataset + weights * (supernets + checkpoints + bundles)


def images_in_memory_bytes(work: WorkOfRun, *, image_size_px: int) -> int:
    """Return what the decoded images take that stay in memory while a phase is trained."""
    pixels = 3 * image_size_px**2
    sizes = work.sizes
    splits = (sizes.train, sizes.calibration, sizes.selection)
    return sum(size * pixels for size in splits if size * pixels <= _KEPT_IN_MEMORY_BYTES)
