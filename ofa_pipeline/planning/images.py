"""What is known of the images of a workspace: prepared ones exactly, others by a survey."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.listing import (
    LISTING_NAME,
    files_of_source,
    last_listing,
    list_files,
    write_listing,
)
from ofa_pipeline.planning.resources import dataset_bytes
from ofa_pipeline.planning.survey import survey_source
from ofa_pipeline.planning.work import SplitSizes
from ofa_pipeline.progress import SILENT
from ofa_pipeline.stages import find_stage, param_sections
from ofa_pipeline.temporary import temporary_folder

if TYPE_CHECKING:
    from ofa_pipeline.data import Proportions
    from ofa_pipeline.params import Params

_LISTED_BY = "list_source"
_MADE_BY = "ofa-pipeline stage prepare_dataset"
_DECODE_S = 0.004
_LOOKED_AT = 128
"""Stored images whose proportions are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesAtHand:
    """The images that a run will work on."""

    num_classes: int
    sizes: SplitSizes
    image_size_px: int
    """Side of the stored images."""
    proportions: "Proportions"
    stored_bytes: float
    decode_s: float
    """CPU seconds to decode a file."""
    note: str


def is_source_changed(params: "Params", layout: Layout) -> bool:
    """Return whether the files of the source differ from those that were listed last.

    DVC does not see it: the stage list_source finds out, each time that it is asked. A source that
    is gone is no change, what was made from it stays.
    """
    stage = find_stage(_LISTED_BY)
    wanted = params.sections(param_sections(stage, None))
    before = last_listing(layout.source, wanted, SILENT)
    source = files_of_source(params.dataset.source, base=layout.root)
    if before is None or source.folder is None or not source.folder.exists():
        return False
    with temporary_folder("plan") as folder:
        listing = write_listing(folder / LISTING_NAME, list_files(source.folder))
    return bool(listing.digest != before.summary["listing_digest"])


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
        proportions=_stored_proportions(layout),
        stored_bytes=sum(path.stat().st_size for path in layout.dataset.iterdir()),
        decode_s=_DECODE_S,
        note=f"{sizes.total:,} prepared images of {summary['num_classes']} classes",
    )


def _stored_proportions(layout: Layout) -> "Proportions":
    """Return those of the first stored images; of photographs where they cannot be read."""
    from ofa_pipeline.data import PHOTOS, Proportions, open_dataset

    try:
        return Proportions.of(open_dataset(layout.dataset).split("train").stored_sizes(_LOOKED_AT))
    except (MissingArtifactError, ManifestMismatchError):
        return PHOTOS


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
        proportions=survey.proportions,
        stored_bytes=dataset_bytes(survey, image_size_px=side, num_images=sizes.total),
        decode_s=survey.decode_s,
        note="the images are not prepared yet; of the source: " + "; ".join(survey.lines),
    )
