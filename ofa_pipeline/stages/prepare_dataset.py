"""Stage ``prepare_dataset``: the source to Parquet shards, splits and statistics."""

from ofa_pipeline.artifacts import write_artifact
from ofa_pipeline.data import DatasetOptions, prepare_dataset
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs


def run(context: StageContext) -> None:
    """Decode-check every image, split, write the dataset artifact."""
    options = DatasetOptions(**context.params.dataset.model_dump(exclude={"name"}))
    inputs = stage_inputs(find_stage("prepare_dataset"), context)
    with write_artifact(context.layout.dataset, **inputs) as writer:
        writer.summary.update(
            prepare_dataset(
                options, writer.folder, base=context.layout.root, reporter=context.reporter
            )
        )
