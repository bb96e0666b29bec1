"""Stage ``list_source``: which files the images come from, without reading one."""

from pathlib import Path

from ofa_pipeline.artifacts import MANIFEST_NAME, Manifest, verify_artifact, write_artifact
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.listing import (
    LISTING_NAME,
    Listing,
    compare,
    files_of_source,
    list_files,
    read_listing,
    write_listing,
)
from ofa_pipeline.progress import Reporter
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs

NAME = "list_source"


def run(context: StageContext) -> None:
    """List the files of the source, and say what changed since they were last listed.

    A source that is gone is no change: what was made from it stays. The line says so.
    """
    layout, reporter = context.layout, context.reporter
    inputs = stage_inputs(find_stage(NAME), context)
    source = files_of_source(context.params.dataset.source, base=layout.root)
    before = _last_listing(layout.source, inputs["params"], reporter)
    if source.folder is not None and before is not None and not source.folder.exists():
        reporter.message(
            f"{source.folder} is not there, so it cannot be compared; what was made from its "
            f"{before.summary['num_files']:,} files stays as it is"
        )
        return
    with write_artifact(layout.source, **inputs) as writer:
        if source.folder is None:
            text, listing = source.note, Listing()
        else:
            path = writer.folder / LISTING_NAME
            listing = write_listing(path, list_files(source.folder))
            text = _text(listing, path, before, layout.source)
        writer.summary.update(
            num_files=listing.num_files,
            num_bytes=listing.num_bytes,
            listing_digest=listing.digest,
        )
    reporter.message(text)


def _last_listing(folder: Path, params: object, reporter: Reporter) -> Manifest | None:
    """Return the manifest of the last listing of the same source; None the first time."""
    if not (folder / MANIFEST_NAME).exists():
        return None
    try:
        manifest = verify_artifact(folder)
    except (ManifestMismatchError, MissingArtifactError):
        reporter.message(f"the last listing in {folder} is damaged: nothing to compare with")
        return None
    is_same = manifest.params == params and LISTING_NAME in manifest.files
    return manifest if is_same else None


def _text(listing: Listing, path: Path, before: Manifest | None, folder: Path) -> str:
    count = f"{listing.num_files:,} file{'s' * (listing.num_files != 1)}"
    if before is None:
        return count
    if before.summary["listing_digest"] == listing.digest:
        return f"{count}, unchanged"
    return f"{count}: {compare(read_listing(folder / LISTING_NAME), read_listing(path))}"
