"""The Parquet shards of a split: written in small row groups, read a row group at a time."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.tables import column

ROW_GROUP_ROWS = 128
"""Images that are read together: 64 kB of small images, 4 MB of large ones."""
OPEN_FILES = 8
"""Shards whose footer is kept at hand."""

IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""As the Hugging Face datasets library writes images."""
SHARD_SCHEMA = pa.schema(
    [
        column("image", IMAGE_TYPE),
        column("label", pa.int64(), unit="class index", kind="given"),
    ]
)
REMEDY = "Produce it again with: ofa-pipeline stage prepare_dataset"


class ShardWriter:
    """Writes the images of one split, some thousand a file."""

    def __init__(self, folder: Path, split: str, *, shard_rows: int) -> None:
        """Write nothing yet."""
        self._folder = folder
        self._split = split
        self._shard_rows = shard_rows
        self._images: list[dict[str, Any]] = []
        self._labels: list[int] = []
        self._writer: pq.ParquetWriter | None = None
        self._rows_in_shard = 0
        self._num_shards = 0

    def add(self, content: bytes, *, path: str, label: int) -> None:
        """Append an image."""
        self._images.append({"bytes": content, "path": path})
        self._labels.append(label)
        full = self._rows_in_shard + len(self._labels) == self._shard_rows
        if full or len(self._labels) == ROW_GROUP_ROWS:
            self._write_row_group()
        if full:
            self._close_shard()

    def close(self) -> None:
        """Write what is left."""
        if self._labels:
            self._write_row_group()
        self._close_shard()

    def _write_row_group(self) -> None:
        if self._writer is None:
            path = self._folder / f"{self._split}-{self._num_shards:05d}.parquet"
            self._writer = pq.ParquetWriter(path, SHARD_SCHEMA, compression="zstd")
        table = pa.table({"image": self._images, "label": self._labels}, schema=SHARD_SCHEMA)
        self._writer.write_table(table)
        self._rows_in_shard += len(self._labels)
        self._images, self._labels = [], []

    def _close_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._num_shards += 1
        self._writer, self._rows_in_shard = None, 0


@dataclass(frozen=True)
class ShardIndex:
    """Where the rows of a split lie."""

    name: str
    """The split with its folder, for messages."""
    row_groups: tuple[tuple[Path, int], ...]
    """File, and number of the row group in it."""
    row_starts: NDArray[np.int64]
    """First row of each row group, and the number of all rows; shape (row groups + 1,)."""

    @classmethod
    def open(cls, folder: Path, split: str) -> "ShardIndex":
        """Read the footers of a split's shards.

        Raises:
            MissingArtifactError: If the split has no shards.
            ManifestMismatchError: If one is not a Parquet file.
        """
        paths = sorted(folder.glob(f"{split}-[0-9]*.parquet"))
        if not paths:
            raise MissingArtifactError(f"{folder / split}-00000.parquet is missing. {REMEDY}")
        groups, sizes = [], []
        for path in paths:
            metadata = _open(path).metadata
            for group in range(metadata.num_row_groups):
                groups.append((path, group))
                sizes.append(metadata.row_group(group).num_rows)
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return cls(f"{folder / split}", tuple(groups), starts)

    @property
    def num_rows(self) -> int:
        """Number of images."""
        return int(self.row_starts[-1])

    def read_labels(self) -> NDArray[np.int64]:
        """Return the class index of each row, shape (N,)."""
        paths = list(dict.fromkeys(path for path, _ in self.row_groups))
        found = [pq.read_table(path, columns=["label"])["label"].to_numpy() for path in paths]
        return np.concatenate(found).astype(np.int64)


class RowGroupReader:
    """Reads the encoded images of rows, and remembers the row groups last read."""

    def __init__(self, index: ShardIndex, *, remembered_row_groups: int) -> None:
        """Read nothing yet."""
        self._index = index
        self._remembered = remembered_row_groups
        self._contents: OrderedDict[int, list[bytes]] = OrderedDict()
        self._files: OrderedDict[Path, pq.ParquetFile] = OrderedDict()

    def read(self, ids: NDArray[np.int64]) -> list[bytes]:
        """Return the encoded images of rows, in the order of the rows."""
        groups = np.searchsorted(self._index.row_starts, ids, side="right") - 1
        found: list[bytes] = [b""] * len(ids)
        for group in np.unique(groups):
            contents = self._row_group(int(group))
            for position in np.flatnonzero(groups == group):
                found[position] = contents[ids[position] - self._index.row_starts[group]]
        return found

    def _row_group(self, group: int) -> list[bytes]:
        if group not in self._contents:
            path, number = self._index.row_groups[group]
            table = self._file(path).read_row_group(number, columns=["image.bytes"])
            self._contents[group] = table["image"].combine_chunks().field("bytes").to_pylist()
        self._contents.move_to_end(group)
        while len(self._contents) > self._remembered:
            self._contents.popitem(last=False)
        return self._contents[group]

    def _file(self, path: Path) -> pq.ParquetFile:
        if path not in self._files:
            self._files[path] = _open(path)
        self._files.move_to_end(path)
        while len(self._files) > OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        return self._files[path]

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._contents.clear()


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise MissingArtifactError(f"{path} is missing. {REMEDY}") from error
    except pa.ArrowInvalid as error:
        raise ManifestMismatchError(f"{path} is not a Parquet file: {error}. {REMEDY}") from error
