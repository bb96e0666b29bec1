"""Documents of a prepared dataset. Its summary, for people, is `dataset_summary.DatasetSummary`.

Trainings depend on their digests, so they are written without a format.
"""

from typing import Annotated

from pydantic import ConfigDict, Field

from ofa_pipeline.documents.base import UnnumberedDocument

Channels = tuple[float, float, float]


class ClassNames(UnnumberedDocument):
    """The classes of a dataset."""

    model_config = ConfigDict(title="the classes of a dataset")

    class_names: tuple[str, ...]
    """By label."""


class PixelStatistics(UnnumberedDocument):
    """How the images of a dataset are stored, and what their pixels are like."""

    model_config = ConfigDict(title="the statistics of a dataset")

    mean: Channels
    """Mean of each channel, of training pixels in [0, 1]."""
    std: Channels
    image_size_px: Annotated[int, Field(ge=1)]
    """Side of the decoded images."""
    value_range: tuple[float, float] | None = Field(default=None, exclude_if=lambda v: v is None)
    """Values of deep images that became 0 and 255; left out where params.yaml sets none."""
