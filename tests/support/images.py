"""Small images, image folders and Parquet files for tests."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from ofa_pipeline.data import DatasetOptions

IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def noise(seed: int, *, height: int = 8, width: int = 8) -> NDArray[np.uint8]:
    """Return random pixels of shape (height, width, 3)."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, 3)).astype(np.uint8)


def encoded(pixels: NDArray[np.uint8], image_format: str = "PNG", **options: Any) -> bytes:
    """Return pixels as the content of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=image_format, **options)
    return buffer.getvalue()


def write_image_folder(
    root: Path, *, classes: Sequence[str] = ("cat", "dog"), images_a_class: int = 10, seed: int = 0
) -> Path:
    """Write ``root/CLASS/NN.png``, each image different."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(images_a_class):
            content = encoded(noise(seed + 1000 * label + index))
            (root / name / f"{index:02d}.png").write_bytes(content)
    return root


def write_image_parquet(
    path: Path,
    *,
    labels: Sequence[int | None],
    contents: Sequence[bytes] | None = None,
    paths: Sequence[str | None] | None = None,
    class_names: str | None = None,
) -> Path:
    """Write images as the Hugging Face datasets library does; each different unless given."""
    contents = contents or [encoded(noise(index)) for index in range(len(labels))]
    paths = paths or [f"{index:04d}.png" for index in range(len(labels))]
    rows = [{"bytes": c, "path": p} for c, p in zip(contents, paths, strict=True)]
    metadata = None if class_names is None else {"class_names": class_names}
    schema = pa.schema([("image", IMAGE_TYPE), ("label", pa.int64())], metadata=metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": rows, "label": list(labels)}, schema=schema), path)
    return path


def dataset_options(source: str, **changes: Any) -> DatasetOptions:
    """Return options that suit a dataset of some tens of 8-pixel images."""
    values: dict[str, Any] = {
        "source": source,
        "image_size_px": 8,
        "test_fraction": 0.2,
        "selection_fraction": 0.2,
        "calibration_fraction": 0.1,
        "max_bad_fraction": 0.0,
        "shard_rows": 4096,
        "seed": 0,
    }
    return DatasetOptions(**{**values, **changes})
