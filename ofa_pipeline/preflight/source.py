"""The images, at a glance: they are there, may be read, and are about so many."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ofa_pipeline.errors import DatasetError, OfaPipelineError, shorten
from ofa_pipeline.preflight.findings import Finding, Subject

GLANCE_S = 2.0
"""How long to count; more files are only called more."""
GLANCE_FILES = 100
"""Parquet files whose rows are counted."""

_SAMPLE = Path(__file__).parents[1] / "data" / "fashion_mnist_sample.parquet"
_NUM_NAMED = 3


@dataclass(slots=True)
class _Count:
    """What a folder holds, as far as was counted."""

    files: int = 0
    folders: list[str] = field(default_factory=list)
    """Names of those right below."""
    raw_names: list[str] = field(default_factory=list)
    """The same as the system has them, where they are not UTF-8, too."""
    is_complete: bool = True

    @property
    def text(self) -> str:
        """For people."""
        named = ", ".join(shorten(name, 40) for name in sorted(self.folders)[:_NUM_NAMED])
        more = ", ..." if len(self.folders) > _NUM_NAMED else ""
        least = "" if self.is_complete else "at least "
        return f"{len(self.folders)} folders ({named}{more}), {least}{self.files:,} files"


def look_at_source(subject: Subject) -> Iterator[Finding]:
    """Look at the source of images, then whether they make a batch.

    Raises:
        DatasetError: If it is not there, may not be read, or holds nothing.
    """
    params = subject.params.dataset
    kind, _, rest = params.source.partition(":")
    num_images: int | None = None
    draws_splits = True
    if kind == "torchvision":
        found = _torchvision(rest)
    elif kind == "image_folder":
        folder = _path(subject.root, rest)
        count = _count_folder(folder)
        own = _own_splits(folder)
        found, draws_splits = f"{count.text}{own}", not own
        _check_names(folder, count)
        if draws_splits and len(count.folders) == 1:
            _refuse_one_class(folder, count)
        num_images = count.files if count.is_complete else None
    else:
        path = _SAMPLE if kind == "fashion_mnist_sample" else _path(subject.root, rest)
        found, num_images = _count_rows(path)
        draws_splits = not path.is_dir()  # the names of several files may tell splits
    yield Finding("source", f"{params.source}: {found}")
    yield Finding("dataset", f"called {params.label} in the names of registered models")
    if num_images is not None:
        yield Finding("batches", _batches(subject, num_images, draws_splits=draws_splits))


def _path(root: Path, given: str) -> Path:
    try:
        return root / Path(given).expanduser()
    except RuntimeError as error:
        raise DatasetError(
            f"dataset.source must name a folder, got {shorten(given)!r}: there is no such user or "
            "home folder. Write the whole path."
        ) from error


def _count_folder(root: Path) -> _Count:
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise DatasetError(
            f"image_folder must be a folder of class folders, {root} {found}. Correct "
            "dataset.source; relative paths are meant from the workspace."
        )
    folders, files = _listed(root)
    if not folders:
        raise DatasetError(f"{root} must hold one folder of images a class, it has no folders")
    names = [folder.name for folder in folders]
    count = _Count(files=files, folders=[_printable(name) for name in names], raw_names=names)
    _count_below(folders, count)
    if not count.files and count.is_complete:
        raise DatasetError(f"{root} must hold images, its {len(folders)} folders are empty")
    return count


def _check_names(root: Path, count: _Count) -> None:
    from ofa_pipeline.data.sources import check_class_names

    check_class_names(count.raw_names, origin=str(root))


def _refuse_one_class(root: Path, count: _Count) -> None:
    from ofa_pipeline.data.sources import check_classes

    check_classes([max(count.files, 1)], class_names=count.folders, origin=str(root))


def _count_below(folders: list[Path], count: _Count) -> None:
    """Add the files of folders and of those in them, until the time for a glance is over."""
    deadline = time.monotonic() + GLANCE_S
    seen: set[tuple[int, int]] = set()
    waiting = list(folders)
    while waiting:
        if time.monotonic() > deadline:
            count.is_complete = False
            return
        folder = waiting.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue  # a link back, or the same folder twice
        seen.add((status.st_dev, status.st_ino))
        inner, files = _listed(folder)
        waiting += inner
        count.files += files


def _listed(folder: Path) -> tuple[list[Path], int]:
    """Return the folders in a folder, and the number of its files; hidden ones are passed over."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
            folders = [Path(entry.path) for entry in visible if entry.is_dir()]
    except OSError as error:
        raise DatasetError(
            f"the images must be readable, but {folder} is not: {error.strerror}. "
            "Change its permissions, or correct dataset.source."
        ) from error
    return folders, len(visible) - len(folders)


def _printable(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def _own_splits(root: Path) -> str:
    """Say which splits a folder brings.

    Raises:
        DatasetError: If something looks like a split and is not understood.
    """
    from ofa_pipeline.data.sources import find_parts
    from ofa_pipeline.data.sources.walk import keys_above

    parts, _ = find_parts(root, above=keys_above(root))
    named = [part.split for part in parts if part.split is not None]
    return f", splits of its own: {', '.join(named)}" if named else ""


def _count_rows(path: Path) -> tuple[str, int | None]:
    """Return the rows of Parquet files, by their footers."""
    if not path.exists():
        raise DatasetError(
            f"parquet must be a Parquet file or a folder of them, {path} does not exist. "
            "Correct dataset.source; relative paths are meant from the workspace."
        )
    if path.is_dir():
        _listed(path)  # that it may be read
    from ofa_pipeline.data.sources import find_parquet_files

    files = [file.path for file in find_parquet_files(path).files]
    rows = sum(_rows(file) for file in files[:GLANCE_FILES])
    many = f"{len(files)} files, " if len(files) > 1 else ""
    if len(files) > GLANCE_FILES:
        return f"{many}{rows:,} rows in the first {GLANCE_FILES}", None
    if not rows:
        raise DatasetError(f"{path} must hold images, it has no rows")
    return f"{many}{rows:,} rows", rows


def _rows(path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            f"{path} must be a Parquet file: {shorten(str(error), 200)}. Make it again."
        ) from error


def _torchvision(name: str) -> str:
    from ofa_pipeline.data.sources.torchvision import (
        DEFAULT_ROOT,
        DOWNLOAD_VARIABLE,
        ENTRIES,
        ROOT_VARIABLE,
    )
    from ofa_pipeline.errors import suggest

    if name not in ENTRIES:
        raise DatasetError(
            f"torchvision:NAME must be one of {', '.join(sorted(ENTRIES))}, got {shorten(name)!r}."
            f"{suggest(name, ENTRIES)}"
        )
    folder = _path(Path(), os.environ.get(ROOT_VARIABLE) or str(DEFAULT_ROOT))
    if folder.is_dir():
        return f"files in {folder}"
    if os.environ.get(DOWNLOAD_VARIABLE) == "1":
        return f"to be downloaded to {folder}"
    raise DatasetError(
        f"the files of torchvision:{name} must lie in {folder}, which is not there. Name their "
        f"folder in {ROOT_VARIABLE}, or set {DOWNLOAD_VARIABLE}=1 to download them."
    )


def _batches(subject: Subject, num_images: int, *, draws_splits: bool) -> str:
    """Say how many images come in batches of which size.

    Raises:
        OfaPipelineError: If there are too few for one.
    """
    batch_size, params = subject.params.training.batch_size, subject.params.dataset
    held_out = params.test_fraction + params.selection_fraction + params.calibration_fraction
    left = round(num_images * (1 - held_out)) if draws_splits else num_images
    if left < batch_size:
        kept = f", of which about {left} are left to train on" if draws_splits else ""
        raise OfaPipelineError(
            f"there must be at least one batch of {batch_size} images to train on, there are "
            f"{num_images} in all{kept}. Lower training.batch_size or add images."
        )
    calibration = round(num_images * params.calibration_fraction)
    in_int8 = any(device.card.precision == "int8" for device in subject.params.devices.values())
    if draws_splits and in_int8:
        from ofa_pipeline.devices import require_calibration_images

        require_calibration_images(calibration)
    return f"of {batch_size} images, for training on a part of {num_images:,}"
