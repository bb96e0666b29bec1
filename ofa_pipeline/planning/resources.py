"""The disk and the memory that a run needs, about."""

from typing import TYPE_CHECKING

from ofa_pipeline.cost import arch_cost
from ofa_pipeline.planning.work import WorkOfRun

if TYPE_CHECKING:
    from ofa_pipeline.data import Footprint
    from ofa_pipeline.planning.images import ImagesAtHand
    from ofa_pipeline.planning.survey import SourceSurvey

_BYTES_A_WEIGHT = 4
_LOSSLESS_UP_TO_PX = 96
_PNG_BYTES_A_PIXEL, _JPEG_BYTES_A_PIXEL = 1.8, 0.7
"""Of photos in colour, as `prepare_dataset` stores them."""
_COPIES = 2
"""Of each artifact: in the workspace and in DVC's cache, unless the file system shares them."""
_CHECKPOINTS, _WEIGHTS_IN_A_CHECKPOINT = 2, 2
_READ_IN_TRAINING = ("train", "calibration", "selection")
_DRAWS_BOXES = "random_resized_crop"
_FILES_OF_A_BUNDLE = 3
"""Weights, the exported network, and what the device runs."""
_BUNDLE_COPIES = _COPIES + 2
"""Besides: scratch and MLflow."""


def dataset_bytes(survey: "SourceSurvey", *, image_size_px: int, num_images: int) -> float:
    """Return what the prepared images take, about."""
    side = min(image_size_px, survey.shorter_side_px(0.5))
    per_pixel = _PNG_BYTES_A_PIXEL if side <= _LOSSLESS_UP_TO_PX else _JPEG_BYTES_A_PIXEL
    stored = per_pixel * survey.proportions.area * side**2
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


def images_in_memory_bytes(work: WorkOfRun, images: "ImagesAtHand") -> int:
    """Return what images take of memory while a phase is trained, at most.

    Those of small splits stay decoded; of the others, one split is streamed at a time.
    """
    footprints = [footprint_of(work, images, name) for name in _READ_IN_TRAINING]
    taken = [(one.is_kept, one.memory_bytes(work.params.training.batch_size)) for one in footprints]
    kept = sum(size for is_kept, size in taken if is_kept)
    return kept + max((size for is_kept, size in taken if not is_kept), default=0)


def footprint_of(work: WorkOfRun, images: "ImagesAtHand", split: str) -> "Footprint":
    """Return how a split is read: with whole images where training draws boxes of them."""
    from ofa_pipeline.data import SQUARES, Footprint

    is_drawn_from = split == "train" and work.params.training.augmentation == _DRAWS_BOXES
    return Footprint(
        num_images=getattr(work.sizes, split),
        image_size_px=images.image_size_px,
        stored_bytes=images.stored_bytes / work.sizes.total,
        proportions=images.proportions if is_drawn_from else SQUARES,
    )
