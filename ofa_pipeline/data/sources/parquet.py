"""``parquet:PATH``: images in Parquet files, as the Hugging Face datasets library writes them."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ofa_pipeline.data.sources.base import (
    SkippedFile,
    SourceImage,
    check_classes,
    check_unique_names,
)
from ofa_pipeline.data.sources.parquet_columns import Columns, ImageCell, ParquetColumns
from ofa_pipeline.data.sources.parquet_files import find_parquet_files, settle_splits
from ofa_pipeline.data.sources.split_names import Role
from ofa_pipeline.data.splits import SplitName
from ofa_pipeline.errors import DatasetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNLABELED_REASON = "has no label (-1 or null)"


@dataclass(slots=True)
class _File:
    """One file, and what a look at its labels and paths found."""

    columns: ParquetColumns
    shown: str
    """Its path below the source."""
    role: Role | None
    """The split that its name says."""
    counts: Counter[str] = field(default_factory=Counter)
    """Labelled images by class name."""
    unlabeled: list[tuple[int, str | None]] = field(default_factory=list)
    """Row, and what the row calls its image."""
    path_keys: "array[int]" = field(default_factory=lambda: array("Q"))
    """Hashes of the images' paths."""


class ParquetSource:
    """A Parquet file, or a folder of them.

    Columns: images as a struct of ``bytes`` and ``path``, as bytes, or as paths of files beside
    the Parquet file; labels as integers, whose class names stand in the schema metadata as
    ``class_names`` (comma-separated or JSON) or as the datasets library writes them, or as
    names. Files are matched by the names of their classes, never by numbers alone.

    Names of files and folders in a folder say what is a split: see `find_parquet_files`. An
    image whose label is -1 or null is left out and listed; a split without labels is passed over.
    """

    fixed_splits: frozenset[SplitName]
    class_names: tuple[str, ...]
    num_images: int
    class_counts: Sequence[int]
    skipped: Sequence[SkippedFile]
    notes: Sequence[str] = ()

    def __init__(self, path: Path, *, columns: Columns | None = None) -> None:
        """Read schemas, labels and paths, without decoding an image.

        Args:
            path: A Parquet file or a folder that holds some.
            columns: Names of the image and the label column.

        Raises:
            DatasetError: If a file is no Parquet file, lacks a column or has a label that is no
                class; if the files' names do not make clear what the splits are; or if there are
                no images, one class only, or an empty class.
        """
        self._root = path if path.is_dir() else path.parent
        found = find_parquet_files(path)
        self._files = [
            _File(ParquetColumns(item.path, columns or Columns()), item.shown, item.role)
            for item in found.files
        ]
        for file in self._files:
            _scan(file)
        self._has_repeated_paths = _repeat(self._files)
        self.class_names = self._names_of_classes(path)
        self._index = {name: index for index, name in enumerate(self.class_names)}
        counts = [sum(file.counts[name] for file in self._files) for name in self.class_names]
        check_classes(counts, class_names=self.class_names, origin=str(path))
        self._splits = settle_splits(
            [file.role if file.counts else None for file in self._files],
            shown=[file.shown for file in self._files if file.counts],
            origin=path,
        )
        self.fixed_splits = frozenset(split for split in self._splits if split is not None)
        self.num_images, self.class_counts = sum(counts), tuple(counts)
        self.skipped = (*found.skipped, *self._unlabeled())

    def images(self) -> Iterator[SourceImage]:
        """Yield the labelled images by file and row; some megabytes are held at a time."""
        for file, split in zip(self._files, self._splits, strict=True):
            folder = file.columns.path.parent
            for row, (cell, name) in enumerate(file.columns.images()):
                if name is not None:
                    label = self._index[name]
                    read = partial(_content, cell, folder, self._root)
                    yield SourceImage(self._shown(file, row, cell.path), label, split, read)

    def sample(self, count: int) -> Iterator[SourceImage]:
        """Yield the first images of row groups from all over the files."""
        files = list(zip(self._files, self._splits, strict=True))
        chosen = files[:: max(1, len(files) // count)]
        for file, split in chosen:
            folder = file.columns.path.parent
            for number, (cell, name) in enumerate(
                file.columns.some_images(-(-count // len(chosen)))
            ):
                if name is not None:
                    read = partial(_content, cell, folder, self._root)
                    shown = cell.path or f"{file.shown}, image {number + 1} of a sample"
                    yield SourceImage(shown, self._index[name], split, read)

    def _shown(self, file: _File, row: int, path: str | None) -> str:
        """Return a name that no other image of the source's split has."""
        place = f"{file.shown}#{row}"
        if not path:
            return place
        return f"{place} ({path})" if self._has_repeated_paths else path

    def _unlabeled(self) -> Iterator[SkippedFile]:
        for file in self._files:
            for row, path in file.unlabeled:
                yield SkippedFile(self._shown(file, row, path), UNLABELED_REASON)

    def _names_of_classes(self, path: Path) -> tuple[str, ...]:
        """Return the class names: those of the metadata in their order, else sorted."""
        given = [file.columns.class_names for file in self._files]
        named = [names for names in given if names is not None]
        if named:
            check_unique_names(named[0], origin=str(path))
            for file in self._files:
                self._check_same_names(file, named[0])
            return named[0]
        found = {name for file in self._files for name in file.counts}
        if not found:
            raise DatasetError(f"{path} holds no images with a label")
        numbers = all(name.isascii() and name.isdigit() for name in found)
        return tuple(sorted(found, key=lambda name: (int(name) if numbers else 0, name)))

    def _check_same_names(self, file: _File, names: tuple[str, ...]) -> None:
        own = file.columns.class_names
        found = set(own) if own is not None else set(file.counts)
        if found == set(names) or (own is None and found <= set(names)):
            return
        raise DatasetError(
            f"all files must name the same classes: {file.shown} lacks "
            f"{_few(set(names) - found)} and has {_few(found - set(names))} besides those of "
            f"{self._files[0].shown}. Write them with the same names"
        )


def _scan(file: _File) -> None:
    """Count the labels of a file and remember the hashes of its paths."""
    for row, (path, name) in enumerate(file.columns.paths_and_labels()):
        if name is None:
            file.unlabeled.append((row, path))
            continue
        file.counts[name] += 1
        if path:
            file.path_keys.append(_path_key(path))


def _path_key(path: str) -> int:
    digest = hashlib.blake2b(path.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _repeat(files: Sequence[_File]) -> bool:
    """Whether two images of a split are called alike, as file names of two folders are."""
    by_split: dict[Role | None, list[NDArray[np.uint64]]] = {}
    for file in files:
        keys = np.frombuffer(file.path_keys, np.uint64)
        by_split.setdefault(file.role, []).append(keys)
        file.path_keys = array("Q")
    return any(len(np.unique(keys)) < len(keys) for keys in map(np.concatenate, by_split.values()))


def _content(cell: ImageCell, folder: Path, root: Path) -> bytes:
    """Return the content of an image, from its row or from the file that the row names."""
    if cell.content is not None:
        return cell.content
    if cell.path is None:
        raise DatasetError("the row has no image")
    if "://" in cell.path:
        raise DatasetError(
            "the row has no bytes, only an address, and nothing is downloaded here. Write the "
            "bytes into the file: the datasets library does with Dataset.to_parquet"
        )
    for base in (folder, root):
        if (base / cell.path).is_file():
            return (base / cell.path).read_bytes()
    raise DatasetError(
        f"the row has no bytes, and the file that it names is neither there nor in {folder}"
    )


def _few(names: set[str]) -> str:
    shown = ", ".join(repr(name) for name in sorted(names)[:5])
    return f"{shown}{' and more' if len(names) > 5 else ''}" if names else "none"  # noqa: PLR2004
