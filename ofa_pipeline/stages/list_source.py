"""Stage ``list_source``: which files the images come from, without reading one."""

from ofa_pipeline.listing import (
    LISTING_NAME,
    Listing,
    describe_listing,
    files_of_source,
    last_listing,
    list_files,
    write_listing,
)
from ofa_pipeline.stages.run import StageRun


def run(stage: StageRun) -> None:
    """List the files of the source, and say what changed since they were last listed.

    A source that is gone is no change: what was made from it stays. The line says so.
    """
    source = files_of_source(stage.params.dataset.source, base=stage.layout.root)
    before = last_listing(stage.folder, stage.inputs["params"], stage.reporter)
    if source.folder is not None and before is not None and not source.folder.exists():
        stage.reporter.message(
            f"{source.folder} is not there, so it cannot be compared; what was made from its "
            f"{before.summary['num_files']:,} files stays as it is"
        )
        return
    with stage.writing() as writer:
        text, listing = source.note, Listing()
        if source.folder is not None:
            path = writer.folder / LISTING_NAME
            listing = write_listing(path, list_files(source.folder))
            text = describe_listing(listing, path, before, stage.folder)
        writer.summary |= {
            "num_files": listing.num_files,
            "num_bytes": listing.num_bytes,
            "listing_digest": listing.digest,
        }
    stage.reporter.message(text)
