"""Surveys of sources that are not there, and machines."""

from typing import Any

from ofa_pipeline.data import PHOTOS
from ofa_pipeline.planning import Machine, SourceSurvey

GIB = 2**30


def a_survey(**options: Any) -> SourceSurvey:
    """Return the survey of 700 photos of five classes, or what differs from it."""
    counts = options.pop("class_counts", (140,) * 5)
    values: dict[str, Any] = {
        "source": "image_folder:photos",
        "class_names": tuple(f"class{index}" for index in range(len(counts))),
        "class_counts": tuple(counts),
        "num_images": sum(counts),
        "fixed_splits": frozenset(),
        "split_shares": {"train": 1.0},
        "num_sampled": 200,
        "shorter_sides_px": (300, 480, 600, 3000),
        "proportions": PHOTOS,
        "num_gray": 0,
        "unreadable": (),
        "file_bytes": 5e5,
        "decode_s": 0.01,
    }
    return SourceSurvey(**values | options)


def a_machine(*, cores: int = 2, gpu: str | None = None) -> Machine:
    """Return a machine."""
    return Machine(
        cores=cores,
        memory_bytes=16 * GIB,
        free_disk_bytes=100 * GIB,
        gpu=gpu,
        gpu_memory_bytes=80 * GIB if gpu else 0,
    )
