"""Where labelled images come from: one module a kind of source."""

from pathlib import Path

from ofa_pipeline.data.sources.base import DatasetSource, SkippedFile, SourceImage, check_classes
from ofa_pipeline.data.sources.class_names import check_class_names, lookalikes
from ofa_pipeline.data.sources.image_folder import ImageFolderSource
from ofa_pipeline.data.sources.parquet import ParquetSource
from ofa_pipeline.data.sources.parquet_columns import Columns
from ofa_pipeline.data.sources.parquet_files import find_parquet_files
from ofa_pipeline.data.sources.split_folders import find_parts
from ofa_pipeline.data.sources.torchvision import TorchvisionSource
from ofa_pipeline.errors import DatasetError, suggest
from ofa_pipeline.user import expand_home

__all__ = [
    "FASHION_MNIST_SAMPLE",
    "Columns",
    "DatasetSource",
    "ImageFolderSource",
    "ParquetSource",
    "SkippedFile",
    "SourceImage",
    "TorchvisionSource",
    "check_class_names",
    "check_classes",
    "find_parquet_files",
    "find_parts",
    "lookalikes",
    "open_source",
]

OPEN_MODULES = ("torchvision", "walk")
"""For who looks at a source without opening it: the checks before work, and `predict`."""

FASHION_MNIST_SAMPLE = Path(__file__).parents[1] / "fashion_mnist_sample.parquet"
"""12,000 images that come with the package."""


def open_source(spec: str, *, base: Path, columns: Columns | None = None) -> DatasetSource:
    """Open a source and check what can be checked without decoding an image.

    Args:
        spec: ``fashion_mnist_sample``, ``image_folder:PATH``, ``parquet:PATH`` or
            ``torchvision:NAME``.
        base: What a relative path starts from.
        columns: Names of the columns of Parquet files, where they are called otherwise.

    Raises:
        DatasetError: If there is no such source, or it cannot be used.
    """
    kind, _, rest = spec.partition(":")
    if kind == "fashion_mnist_sample":
        return ParquetSource(FASHION_MNIST_SAMPLE)
    if kind == "image_folder":
        return ImageFolderSource(base / expand_home(rest))
    if kind == "parquet":
        return ParquetSource(base / expand_home(rest), columns=columns)
    if kind == "torchvision":
        return TorchvisionSource(rest)
    known = ("fashion_mnist_sample", "image_folder", "parquet", "torchvision")
    if not rest and "/" in spec:
        raise DatasetError(
            f"a source begins with its kind, {spec!r} is a path alone. A folder of images: "
            f"image_folder:{spec}; Parquet files: parquet:{spec}"
        )
    raise DatasetError(f"unknown source {kind!r} in {spec!r}.{suggest(kind, known)}")
