"""``parquet:PATH``: images in Parquet files, as the Hugging Face datasets library writes them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ofa_pipeline.data.sources.base import (
    SkippedFile,
    SourceImage,
    check_classes,
    check_unique_names,
)
from ofa_pipeline.data.splits import SplitName
from ofa_pipeline.errors import DatasetError, suggest

IMAGES_A_READ = 64
ROWS_A_SCAN = 65536
MAX_UNNAMED_LABEL = 65535
"""Where there are no class names: a larger label is rather an identifier of something else."""
SPLIT_OF_FILE_NAME: dict[str, SplitName] = {
    "train": "train",
    "test": "test",
    "val": "selection",
    "valid": "selection",
    "validation": "selection",
}


class ParquetSource:
    """A Parquet file, or a folder of them.

    Columns: ``image`` (a struct of ``bytes`` and ``path``) and ``label`` (an integer). The class
    names stand in the schema metadata, as ``class_names`` (comma-separated or JSON) or as the
    datasets library writes them; without any they are the numbers. In a folder, files whose
    names begin with ``train``, ``test`` or ``validation`` are splits, as in an image folder.
    """

    fixed_splits: frozenset[SplitName]
    class_names: tuple[str, ...]
    num_images: int
    skipped: Sequence[SkippedFile] = ()

    def __init__(self, path: Path) -> None:
        """Read schemas, labels and paths, without decoding an image.

        Raises:
            DatasetError: If a file is no Parquet file, lacks a column, has a label out of range
                or none, or names a path twice; or if there are no images, one class only, or an
                empty class.
        """
        self._root = path
        self._files = _find_files(path)
        self._splits = _splits_of(self._files) if path.is_dir() else [None]
        self.fixed_splits = frozenset(split for split in self._splits if split is not None)
        schemas = [_check_schema(file) for file in self._files]
        names = [_class_names(schema) for schema in schemas]
        if any(other != names[0] for other in names):
            raise DatasetError(f"all files in {path} must name the same classes, in one order")
        self._check_paths()
        counts = self._count_labels(names[0])
        self.class_names = names[0] or tuple(str(label) for label in range(len(counts)))
        check_unique_names(self.class_names, origin=str(path))
        check_classes(counts.tolist(), class_names=self.class_names, origin=str(path))
        self.num_images = int(counts.sum())

    def images(self) -> Iterator[SourceImage]:
        """Yield the images by file and row; one row group of a file is held at a time."""
        for path, split in zip(self._files, self._splits, strict=True):
            row = 0
            for batch in _batches(path, ["image", "label"], rows=IMAGES_A_READ):
                for record in batch.to_pylist():
                    name = record["image"]["path"] or f"{path.name}#{row}"
                    content = record["image"]["bytes"]
                    yield SourceImage(name, record["label"], split, partial(_given, content))
                    row += 1

    def _count_labels(self, class_names: tuple[str, ...] | None) -> NDArray[np.int64]:
        counts = np.zeros(len(class_names or ()), dtype=np.int64)
        for path in self._files:
            row = 0
            for batch in _batches(path, ["label"], rows=ROWS_A_SCAN):
                labels = _checked_labels(batch["label"], class_names, path=path, row=row)
                found = np.bincount(labels, minlength=len(counts))
                counts = found + np.pad(counts, (0, len(found) - len(counts)))
                row += len(labels)
        return counts

    def _check_paths(self) -> None:
        keys: dict[SplitName | None, list[NDArray[np.uint64]]] = {}
        for path, split in zip(self._files, self._splits, strict=True):
            for batch in _batches(path, ["image.path"], rows=ROWS_A_SCAN):
                names = batch["image"].field("path").drop_null().to_pylist()
                hashed = [hashlib.blake2b(n.encode(), digest_size=8).digest() for n in names if n]
                keys.setdefault(split, []).append(np.frombuffer(b"".join(hashed), np.uint64))
        for split, parts in keys.items():
            values, counts = np.unique(np.concatenate(parts), return_counts=True)
            if (counts > 1).any():
                name = self._name_of(values[counts > 1][0], split)
                raise DatasetError(
                    f"every image of {self._root} must have a path of its own, {name!r} occurs "
                    f"{counts.max()} times, and {int((counts > 1).sum())} paths are repeated. "
                    "Remove the repeated rows"
                )

    def _name_of(self, key: np.uint64, split: SplitName | None) -> str:
        for path, other in zip(self._files, self._splits, strict=True):
            if other != split:
                continue
            for batch in _batches(path, ["image.path"], rows=ROWS_A_SCAN):
                for name in batch["image"].field("path").drop_null().to_pylist():
                    hashed = hashlib.blake2b(name.encode(), digest_size=8).digest()
                    if hashed == key.tobytes():
                        return str(name)
        return "?"


def _given(content: bytes | None) -> bytes:
    if not content:
        raise DatasetError("the row has no bytes")
    return content


def _find_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DatasetError(f"parquet must be a Parquet file or a folder of them, {path} is nothing")
    files = sorted(path.rglob("*.parquet"))
    if not files:
        raise DatasetError(f"{path} must hold Parquet files, there is none with .parquet")
    return files


def _splits_of(files: Sequence[Path]) -> list[SplitName | None]:
    """Return the split of each file, by its name; None where the splits are to be drawn."""
    words = [file.stem.lower().replace("_", "-").split("-")[0] for file in files]
    named = [SPLIT_OF_FILE_NAME.get(word) for word in words]
    if "test" not in named:
        named = ["test" if split == "selection" else split for split in named]
    if set(named) <= {"test"} or set(named) <= {"selection", "test"}:
        raise DatasetError(
            f"there must be images to train on, {files[0].parent} has only "
            f"{', '.join(file.name for file in files[:5])}"
        )
    return [None if split == "train" else split for split in named]


def _check_schema(path: Path) -> pa.Schema:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError(f"{path} is not a readable Parquet file: {error}") from error
    for name in ("image", "label"):
        if name not in schema.names:
            raise DatasetError(
                f"{path} must have the columns image and label, it has no {name}."
                f"{suggest(name, schema.names) or f' It has: {schema.names}.'}"
            )
    image, label = schema.field("image").type, schema.field("label").type
    fields = {field.name for field in image} if pa.types.is_struct(image) else set()
    if not {"bytes", "path"} <= fields:
        raise DatasetError(
            f"{path}: column image must be a struct of bytes and path, it is {image}"
        )
    if not pa.types.is_integer(label):
        raise DatasetError(f"{path}: column label must be an integer, it is {label}")
    return schema


def _class_names(schema: pa.Schema) -> tuple[str, ...] | None:
    metadata = schema.metadata or {}
    if b"class_names" in metadata:
        text = metadata[b"class_names"].decode()
        return tuple(json.loads(text) if text.startswith("[") else text.split(","))
    if b"huggingface" in metadata:
        features = json.loads(metadata[b"huggingface"]).get("info", {}).get("features", {})
        names = features.get("label", {}).get("names")
        return tuple(names) if names else None
    return None


def _checked_labels(
    labels: Any,  # noqa: ANN401 - an Arrow array, which has no types
    class_names: tuple[str, ...] | None,
    *,
    path: Path,
    row: int,
) -> NDArray[np.int64]:
    if labels.null_count:
        first = row + labels.is_null().to_pylist().index(True)
        raise DatasetError(f"{path}: every image must have a label, row {first} has none")
    values: NDArray[np.int64] = labels.to_numpy(zero_copy_only=False).astype(np.int64)
    highest = len(class_names) - 1 if class_names else MAX_UNNAMED_LABEL
    wrong = np.flatnonzero((values < 0) | (values > highest))
    if len(wrong):
        known = f"{len(class_names)} class names" if class_names else "no class names"
        raise DatasetError(
            f"{path}: labels must be 0 to {highest} ({known} in the schema metadata), "
            f"row {row + wrong[0]} has {values[wrong[0]]}"
        )
    return values


def _batches(path: Path, columns: list[str], *, rows: int) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):  # all at once: Arrow reads many ahead
                yield from file.iter_batches(
                    batch_size=rows, columns=columns, row_groups=[group], use_threads=False
                )
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError(f"{path} is damaged: {error}") from error
