"""A prepared dataset as MLflow keeps one: name, digest, source, schema and numbers of images."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.registry.protocol import DatasetNotes

if TYPE_CHECKING:
    from mlflow.entities import Dataset


def dataset_entity(notes: DatasetNotes) -> "Dataset":
    """Return what `mlflow.data` makes of a dataset: no image is read.

    A source with a path is a local one, which `mlflow.data.get_source` opens; any other is code.
    """
    import numpy as np
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.entities import Dataset
    from mlflow.types import Schema, TensorSpec

    side = notes.image_size_px
    schema = TensorDatasetSchema(
        features=Schema([TensorSpec(np.dtype(np.uint8), (-1, side, side, 3), name="image")]),
        targets=Schema([TensorSpec(np.dtype(np.int64), (-1,), name="label")]),
    )
    source_type, source = _source(notes.source)
    total = {"num_rows": sum(notes.num_images.values())}
    counts = {f"num_images_{split}": count for split, count in notes.num_images.items()}
    return Dataset(
        name=notes.name,
        digest=notes.short_digest,
        source_type=source_type,
        source=json.dumps(source),
        schema=json.dumps(schema.to_dict()),
        profile=json.dumps({**total, "num_classes": notes.num_classes, **counts}),
    )


def _source(source: str) -> tuple[str, dict[str, object]]:
    """Return the type of a source and its value, as MLflow's own sources write them."""
    _, _, rest = source.partition(":")
    path = Path(rest).expanduser()
    if rest and path.exists():
        return "local", {"uri": str(path.resolve())}
    return "code", {"tags": {"mlflow.source.name": source}}
