"""Stage ``prepare_dataset``: the source to Parquet shards, splits and statistics."""

from ofa_pipeline.data import DatasetOptions, prepare_dataset
from ofa_pipeline.stages.run import StageRun


def run(stage: StageRun) -> None:
    """Decode-check every image, split, write the dataset artifact."""
    options = DatasetOptions(**stage.params.dataset.model_dump(exclude={"name"}))
    with stage.writing() as writer:
        writer.summary |= prepare_dataset(
            options, writer.folder, base=stage.layout.root, reporter=stage.reporter
        )
