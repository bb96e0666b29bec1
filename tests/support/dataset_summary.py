"""A made-up summary of a prepared dataset."""

from collections.abc import Mapping
from typing import Any

from ofa_pipeline.dataset_summary import (
    ClassSummary,
    DatasetSummary,
    Passed,
    SizeSummary,
    SplitSummary,
)

COUNTS = {"train": 10, "calibration": 2, "selection": 4, "test": 4}


def sample_summary(**changes: Any) -> DatasetSummary:
    """Return the summary of a small dataset of two classes that brought its test split."""
    classes = tuple(ClassSummary(name=name, num_images=_halves(COUNTS)) for name in ("cat", "dog"))
    values: dict[str, Any] = {
        "source": "image_folder:pets",
        "num_read": 20,
        "num_copies": 2,
        "image_size_px": 20,
        "splits": tuple(
            SplitSummary(name=name, num_images=count, is_given=name in {"train", "test"})
            for name, count in COUNTS.items()
        ),
        "num_classes": 2,
        "classes": classes,
        "smallest_class": classes[0],
        "largest_class": classes[1],
        "sizes": SizeSummary(smallest=(20, 30), largest=(20, 30), frequent=((20, 30, 20),)),
        "modes": {"RGB": 20},
        "passed": (
            Passed(fate="lost", reason="not an image", count=1, examples=("cat/bad.png",)),
            Passed(fate="left out", reason="a copy", count=2, examples=("cat/a.png", "b")),
        ),
        "warnings": (),
    }
    return DatasetSummary(**{**values, **changes})


def _halves(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count // 2 for name, count in counts.items()}
