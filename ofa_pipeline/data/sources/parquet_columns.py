"""The image and the label column of a Parquet file, in every way that they are written.

The Hugging Face datasets library writes images as a struct of ``bytes`` and ``path``, of which
either may be null, and labels as numbers with their names in the schema metadata. Others write
plain bytes, paths of files, and the names themselves.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ofa_pipeline.errors import DatasetError, suggest

ROWS_A_SCAN = 65536
READ_BYTES = 32 * 2**20
"""Bytes of images that are read together, about."""
MAX_ROWS_A_READ = 64
BUFFER_BYTES = 2**20
MAX_UNNAMED_LABEL = 65535
"""Where there are no class names: a larger label is rather an identifier of something else."""
UNLABELED = -1
"""Label of an image without one, as the datasets library writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the columns that hold the images and the labels."""

    image: str = "image"
    label: str = "label"


@dataclass(frozen=True, slots=True)
class ImageCell:
    """An image as its row gives it: the content, or the path of a file, or neither."""

    content: bytes | None
    path: str | None


class ParquetColumns:
    """The two columns of one file, checked against its schema.

    Attributes:
        path: The file.
        class_names: Names in the schema metadata, in the order of the labels; None without any.
        num_rows: Rows of the file.
    """

    def __init__(self, path: Path, columns: Columns) -> None:
        """Read the schema.

        Raises:
            DatasetError: If it is no Parquet file, lacks a column, or has one of another type.
        """
        self.path = path
        self._columns = columns
        with _explained(path, "is not a readable Parquet file"), _open(path) as file:
            schema = file.schema_arrow
            self.num_rows = file.metadata.num_rows
        self._check_names(schema)
        self._image = schema.field(columns.image).type
        self._label = _value_type(schema.field(columns.label).type)
        self._check_image()
        self.class_names = _class_names(schema, columns.label, path)
        self._names = self._label_names()

    @property
    def has_paths(self) -> bool:
        """Whether rows may say what their image is called."""
        return _is_text(self._image) or "path" in self._fields

    @property
    def _fields(self) -> set[str]:
        return {field.name for field in self._image} if pa.types.is_struct(self._image) else set()

    def paths_and_labels(self) -> Iterator[tuple[str | None, str | None]]:
        """Yield what each row calls its image, and its class name; None for what it has not.

        Raises:
            DatasetError: If a label is no class of the file; the message names the row.
        """
        image = self._columns.image
        where = f"{image}.path" if pa.types.is_struct(self._image) else image
        columns = [where, self._columns.label] if self.has_paths else [self._columns.label]
        row = 0
        for batch in self._batches(columns, rows=ROWS_A_SCAN):
            labels = batch[self._columns.label].to_pylist()
            paths = self._paths(batch) if self.has_paths else [None] * len(labels)
            for path, label in zip(paths, labels, strict=True):
                yield path, self._name(label, row)
                row += 1

    def images(self) -> Iterator[tuple[ImageCell, str | None]]:
        """Yield the image and the class name of each row; a few rows are held at a time."""
        row = 0
        columns = [self._columns.image, self._columns.label]
        for batch in self._batches(columns, rows=None):
            labels = batch[self._columns.label].to_pylist()
            images = batch[self._columns.image].to_pylist()
            for image, label in zip(images, labels, strict=True):
                yield self._cell(image), self._name(label, row)
                row += 1

    def some_images(self, count: int) -> Iterator[tuple[ImageCell, str | None]]:
        """Yield as `images` does, of about so many rows: the first of row groups all over."""
        columns = [self._columns.image, self._columns.label]
        with _explained(self.path, "is damaged"), _open(self.path) as file:
            groups = range(0, file.num_row_groups, max(1, file.num_row_groups // count))
            rows = max(1, count // max(1, len(groups)))
            for group in groups:
                batches = file.iter_batches(
                    batch_size=rows, columns=columns, row_groups=[group], use_threads=False
                )
                batch = next(batches, None)
                for row in [] if batch is None else batch.to_pylist():
                    label = row[self._columns.label]
                    yield self._cell(row[self._columns.image]), self._name(label, 0)

    def _check_names(self, schema: pa.Schema) -> None:
        for kind, name in (("image", self._columns.image), ("label", self._columns.label)):
            if name not in schema.names:
                hint = suggest(name, schema.names) or f" It has: {', '.join(schema.names[:20])}."
                raise DatasetError(
                    f"{self.path} must have the columns {self._columns.image} and "
                    f"{self._columns.label}, it has no {name}.{hint} "
                    f"Name the column in dataset.{kind}_column"
                )

    def _check_image(self) -> None:
        is_known = _is_bytes(self._image) or _is_text(self._image)
        if is_known or self._fields & {"bytes", "path"}:
            return
        raise DatasetError(
            f"{self.path}: column {self._columns.image} must hold encoded images (a struct of "
            f"bytes and path, bytes, or paths of files), it is {self._image}. Write it as the "
            "Image feature of the datasets library does, or name another dataset.image_column"
        )

    def _label_names(self) -> Mapping[object, str] | None:
        """Return the class name of each label; None where a label is its own name."""
        label = self._label
        if pa.types.is_integer(label) or pa.types.is_floating(label):
            return dict(enumerate(self.class_names)) if self.class_names else None
        if _is_text(label):
            return {name: name for name in self.class_names} if self.class_names else None
        if pa.types.is_boolean(label):
            names = self.class_names or ("False", "True")
            return dict(zip((False, True), names, strict=False))
        raise DatasetError(
            f"{self.path}: column {self._columns.label} must hold integers or names, it is "
            f"{label}. Name another dataset.label_column"
        )

    def _name(self, label: Any, row: int) -> str | None:  # noqa: ANN401 - a cell
        """Return the class name of a label; None where the image has none."""
        if isinstance(label, float):
            label = None if label != label else self._whole(label, row)  # noqa: PLR0124 - nan
        if label is None or label == "" or (label == UNLABELED and not isinstance(label, bool)):
            return None
        if self._names is not None and label in self._names:
            return self._names[label]
        if self._names is None and (isinstance(label, str) or 0 <= label <= MAX_UNNAMED_LABEL):
            return str(label)
        raise DatasetError(f"{self.path}: {self._allowed()}, row {row} has {label!r}")

    def _whole(self, label: float, row: int) -> int:
        if not label.is_integer():
            raise DatasetError(f"{self.path}: labels must be whole numbers, row {row} has {label}")
        return int(label)

    def _allowed(self) -> str:
        if self._names is None:
            return (
                f"labels must be 0 to {MAX_UNNAMED_LABEL}, or {UNLABELED} for none (there are no "
                "class names in the schema metadata)"
            )
        if _is_text(self._label):
            return f"labels must be among the {len(self._names)} class names of the schema metadata"
        return (
            f"labels must be 0 to {len(self._names) - 1} ({len(self._names)} class names in the "
            f"schema metadata), or {UNLABELED} for none"
        )

    def _paths(self, batch: pa.RecordBatch) -> list[str | None]:
        column = batch[self._columns.image]
        if pa.types.is_struct(self._image):
            return [None if cell is None else cell["path"] for cell in column.to_pylist()]
        return list(column.to_pylist())

    def _cell(self, image: Any) -> ImageCell:  # noqa: ANN401 - a cell
        if isinstance(image, dict):
            return ImageCell(image.get("bytes") or None, image.get("path") or None)
        if isinstance(image, str):
            return ImageCell(None, image or None)
        return ImageCell(image or None, None)

    def _batches(self, columns: list[str], *, rows: int | None) -> Iterator[pa.RecordBatch]:
        """Read in batches; without a number of rows, of images of some megabytes together.

        A row group is read as a stream: what is held is its pages, a thousand images at most as
        Arrow writes them, however large the row group is.
        """
        with _explained(self.path, "is damaged"), _open(self.path) as file:
            for group in range(file.num_row_groups):  # all at once: Arrow reads many ahead
                size = rows or _rows_a_read(file.metadata.row_group(group))
                yield from file.iter_batches(
                    batch_size=size, columns=columns, row_groups=[group], use_threads=False
                )


def _rows_a_read(group: Any) -> int:  # noqa: ANN401 - Arrow has no types
    average = max(1, group.total_byte_size // max(1, group.num_rows))
    return int(min(MAX_ROWS_A_READ, max(1, READ_BYTES // average)))


def _open(path: Path) -> Any:  # noqa: ANN401 - Arrow has no types
    return pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)


class _explained:  # noqa: N801 - reads as a verb
    """Turn what Arrow raises about a file into an error that names it."""

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (pa.ArrowException, OSError)):
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DatasetError(f"{self._path} {self._what}: {reason}") from error


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_bytes(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _class_names(schema: pa.Schema, label: str, path: Path) -> tuple[str, ...] | None:
    """Return the class names of the schema metadata; None where it has none."""
    metadata = schema.metadata or {}
    try:
        if b"class_names" in metadata:
            text = metadata[b"class_names"].decode()
            return tuple(json.loads(text) if text.startswith("[") else text.split(","))
        if b"huggingface" in metadata:
            features = json.loads(metadata[b"huggingface"]).get("info", {}).get("features", {})
            names = (features.get(label) or {}).get("names")
            if isinstance(names, dict):  # as dataset cards write them
                names = [names[key] for key in sorted(names, key=int)]
            return tuple(map(str, names)) if names else None
    except (ValueError, AttributeError, TypeError) as error:
        raise DatasetError(
            f"{path}: the class names in the schema metadata cannot be read: {error}. Write them "
            "as the datasets library does, or as JSON under class_names"
        ) from error
    return None
