"""What is known of the images of a workspace: prepared ones exactly, others by a survey."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.planning.resources import dataset_bytes
from ofa_pipeline.planning.survey import survey_source
from ofa_pipeline.planning.work import SplitSizes

if TYPE_CHECKING:
    from ofa_pipeline.params import Params

_MADE_BY = "ofa-pipeline stage prepare_dataset"
_DECODE_S = 0.004


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesAtHand:
    """The images that a run will work on."""

    num_classes: int
    sizes: SplitSizes
    image_size_px: int
    """Side of the stored images."""
    stored_bytes: float
    decode_s: float
    """CPU seconds to decode a file."""
    note: str


def prepared_images(layout: Layout) -> ImagesAtHand | None:
    """Return what the dataset of a workspace says; None where it says nothing, or is not there."""
    try:
        summary = Manifest.read(layout.dataset, made_by=_MADE_BY).summary
    except (MissingArtifactError, ManifestMismatchError):
        return None
    if not {"num_images", "num_classes", "image_size_px"} <= summary.keys():
        return None  # of an earlier version
    sizes = SplitSizes(**summary["num_images"])
    return ImagesAtHand(
        num_classes=summary["num_classes"],
        sizes=sizes,
        image_size_px=summary["image_size_px"],
        stored_bytes=sum(path.stat().st_size for path in layout.dataset.iterdir()),
        decode_s=_DECODE_S,
        note=f"{sizes.total:,} prepared images of {summary['num_classes']} classes",
    )


def surveyed_images(params: "Params", root: Path) -> ImagesAtHand:
    """Look at the source of a workspace whose images are not prepared.

    Raises:
        DatasetError: If it cannot be used.
    """
    survey = survey_source(params.dataset.source, base=root)
    sizes = SplitSizes.of_survey(survey, params)
    side = params.dataset.image_size_px
    return ImagesAtHand(
        num_classes=survey.num_classes,
        sizes=sizes,
        image_size_px=min(side, survey.shorter_sides_px[-1]),
        stored_bytes=dataset_bytes(survey, image_size_px=side, num_images=sizes.total),
        decode_s=survey.decode_s,
        note="the images are not prepared yet; of the source: " + "; ".join(survey.lines),
    )
