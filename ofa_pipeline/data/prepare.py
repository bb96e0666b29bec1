"""`prepare_dataset`: any source to Parquet shards, decoding each image once.

First pass: decode, check, bring to size, hash and add up the pixels, append to a staging file.
Then everything is known that the splits depend on. Second pass: copy the staged images to the
shards of their splits, in an order that is random but depends on the pixels alone.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.cores import usable_cores
from ofa_pipeline.data.decode import (
    FileFacts,
    Pixels,
    ValueRange,
    center_square,
    decode_source_image,
    encode,
    rgb_pixels,
    shrink,
)
from ofa_pipeline.data.shards import ShardWriter
from ofa_pipeline.data.sources import (
    Columns,
    DatasetSource,
    SourceImage,
    check_class_names,
    check_classes,
    open_source,
)
from ofa_pipeline.data.splits import (
    DIGEST_BYTES,
    DRAWN,
    LEFT_OUT,
    SPLIT_NAMES,
    TRAIN,
    Assignment,
    SplitName,
    UsableImages,
    assign_splits,
)
from ofa_pipeline.data.staging import (
    CHANNELS,
    PixelSums,
    PreparedImage,
    Staging,
    channel_statistics,
)
from ofa_pipeline.data.summarize import Outcome, summarize
from ofa_pipeline.data.survey import Survey
from ofa_pipeline.dataset_summary import Fate, write_summary
from ofa_pipeline.errors import DatasetError
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.tables import QUARANTINE_SCHEMA, write_table

IMAGES_A_TASK = 8
"""Few enough that large photographs in flight do not add up."""
SHOWN = 5
"""Examples in an error message."""
LEVELS = np.arange(256, dtype=np.int64)
MIN_STD = 1 / 255
"""Smallest deviation of a channel, one gray level: a constant channel is not divided by zero."""


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """What to prepare, and how."""

    source: str
    """As `open_source` takes it."""
    image_size_px: int
    """Images whose shorter side is larger are resized to it."""
    test_fraction: float
    """Share of each class; without effect where the source has a test split of its own."""
    selection_fraction: float
    """Share of each class; without effect where the source has a validation split of its own."""
    calibration_fraction: float
    """Share of each class."""
    max_bad_fraction: float
    """Share of the source's images that may be unreadable."""
    shard_rows: int
    """Images a Parquet file."""
    seed: int
    """Seed of the splits."""
    image_column: str = "image"
    """Column of a Parquet file."""
    label_column: str = "label"
    """Column of a Parquet file."""
    value_range: ValueRange | None = None
    """As `decode_source_image` takes it."""


@dataclass(frozen=True, slots=True)
class _Decoded:
    image: PreparedImage
    digest: bytes
    shorter_side_px: int
    file: FileFacts
    is_gray_as_color: bool


@dataclass(frozen=True, slots=True)
class _Excluded:
    path: str
    label: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class _FirstPass:
    bad: list[_Excluded]
    """Images that cannot be decoded."""
    largest_px: int
    """Largest shorter side that is stored."""
    survey: Survey


def prepare_dataset(
    options: DatasetOptions, folder: Path, *, base: Path, reporter: Reporter = SILENT
) -> dict[str, Any]:
    """Write the shards, class names, statistics and quarantine list of a dataset.

    Memory does not grow with the images: besides those in flight, 38 bytes stay of each, and
    what is left out by name.

    Args:
        options: What to prepare.
        folder: Empty or new; gets ``SPLIT-NNNNN.parquet``, ``classes.json``,
            ``statistics.json``, ``quarantine.parquet`` and ``summary.json``.
        base: What a relative path of the source starts from.
        reporter: Told of the images decoded and written.

    Returns:
        Key figures for the manifest.

    Raises:
        DatasetError: If the source cannot be used, too many images are unreadable, or a class is
            too small for its splits.
    """
    columns = Columns(image=options.image_column, label=options.label_column)
    source = open_source(options.source, base=base, columns=columns)
    check_class_names(source.class_names, origin=options.source)
    folder.mkdir(parents=True, exist_ok=True)
    with Staging(folder / ".staging") as staging:
        first = _stage(source, options, staging, reporter)
        candidates = staging.candidates()
        assignment = _assign(candidates, source, options, first.survey)
        copies = [
            _Excluded(image.path, image.label, "a held-out image has the same pixels")
            for image in map(staging.read, np.flatnonzero(assignment.split == LEFT_OUT).tolist())
        ]
        mean, std = _write_shards(staging, assignment, folder, options, reporter)
    skipped = [_Excluded(file.path, None, file.reason) for file in source.skipped]
    excluded: dict[Fate, list[_Excluded]] = {
        "lost": first.bad,
        "skipped": skipped,
        "left out": copies,
    }
    _write_quarantine(folder / Layout.QUARANTINE, excluded)
    size_px = min(options.image_size_px, first.largest_px)
    statistics = {
        "mean": mean,
        "std": [max(s, MIN_STD) for s in std],
        "image_size_px": size_px,
        "value_range": options.value_range,
    }
    _write_description(folder, source.class_names, statistics)
    outcome = Outcome(
        source=options.source,
        class_names=source.class_names,
        fixed_splits=source.fixed_splits,
        labels=candidates.labels,
        assignment=assignment,
        survey=first.survey,
        passed={
            fate: ((file.path, file.reason) for file in sorted(files, key=_by_path))
            for fate, files in excluded.items()
        },
        image_size_px=size_px,
        value_range=options.value_range,
        notes=source.notes,
    )
    summary = summarize(outcome)
    write_summary(summary, folder)
    return {
        "num_images": {split.name: split.num_images for split in summary.splits},
        "num_classes": summary.num_classes,
        "image_size_px": size_px,
        "num_unreadable": len(first.bad),
        "num_skipped_files": len(skipped),
        "num_copies": assignment.num_copies,
        "num_copies_left_out": len(copies),
    }


def _assign(
    candidates: UsableImages, source: DatasetSource, options: DatasetOptions, survey: Survey
) -> Assignment:
    """Divide the images; an error says too when their values were cut to few levels."""
    counts = np.bincount(candidates.labels, minlength=len(source.class_names))
    check_classes(
        counts.tolist(), class_names=source.class_names, origin=f"{options.source}, decoded,"
    )
    try:
        return assign_splits(
            candidates, fractions=_fractions(options, source), class_names=source.class_names
        )
    except DatasetError as error:
        hint = survey.depth_hint(options.value_range)
        if hint is None:
            raise
        raise DatasetError(f"{error}. One reason may be that {hint}") from error


def _fractions(options: DatasetOptions, source: DatasetSource) -> dict[SplitName, float]:
    wanted: dict[SplitName, float] = {
        "test": options.test_fraction,
        "selection": options.selection_fraction,
        "calibration": options.calibration_fraction,
    }
    return {name: share for name, share in wanted.items() if name not in source.fixed_splits}


# ---- first pass -------------------------------------------------------------------------------


def _stage(
    source: DatasetSource, options: DatasetOptions, staging: Staging, reporter: Reporter
) -> _FirstPass:
    bad: list[_Excluded] = []
    largest_px = 0
    survey = Survey(options.image_size_px)
    tracker = reporter.track("decode", total=source.num_images, unit="images")
    for image, found in _decode_all(source, options):
        if isinstance(found, _Excluded):
            bad.append(found)
            _check_bad(bad, source, options)
        else:
            fixed = DRAWN if image.split is None else SPLIT_NAMES.index(image.split)
            staging.append(found.image, digest=found.digest, fixed=fixed)
            largest_px = max(largest_px, found.shorter_side_px)
            survey.add(found.file, is_gray_as_color=found.is_gray_as_color)
        tracker.advance()
    return _FirstPass(bad, largest_px, survey)


def _check_bad(bad: list[_Excluded], source: DatasetSource, options: DatasetOptions) -> None:
    allowed = options.max_bad_fraction * source.num_images
    if len(bad) > allowed:
        shown = "; ".join(f"{item.path}: {item.reason}" for item in bad[:SHOWN])
        raise DatasetError(
            f"at most {options.max_bad_fraction:.2%} of the {source.num_images} images of "
            f"{options.source} may be unreadable, found {len(bad)} so far: {shown}. "
            "Repair or remove them, or raise dataset.max_bad_fraction"
        )


def _decode_all(
    source: DatasetSource, options: DatasetOptions
) -> Iterator[tuple[SourceImage, _Decoded | _Excluded]]:
    """Decode on all cores, in the order of the source, with a bounded number in flight."""
    num_threads = usable_cores()
    images = source.images()
    pending: deque[tuple[list[SourceImage], Future[list[_Decoded | _Excluded]]]] = deque()
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="decode")
    try:
        while True:
            task = list(islice(images, IMAGES_A_TASK))
            if task:
                pending.append((task, pool.submit(_decode_task, task, options)))
            if not pending:
                return
            if not task or len(pending) > 2 * num_threads:
                done, future = pending.popleft()
                yield from zip(done, future.result(), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_task(images: list[SourceImage], options: DatasetOptions) -> list[_Decoded | _Excluded]:
    return [_decode(image, options) for image in images]


def _decode(image: SourceImage, options: DatasetOptions) -> _Decoded | _Excluded:
    try:
        content = image.read()
        decoded = decode_source_image(
            content, at_least_px=options.image_size_px, value_range=options.value_range
        )
    except DatasetError as error:
        return _Excluded(image.path, image.label, str(error))
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror or error}"
        return _Excluded(image.path, image.label, reason)
    kept = shrink(decoded.image, options.image_size_px)
    is_resized = kept is not decoded.image
    as_it_is = decoded.is_plain and not is_resized
    stored = content if as_it_is else encode(kept, lossless=not is_resized)
    pixels = rgb_pixels(kept)
    key = options.seed.to_bytes(8, "little")
    digest = hashlib.blake2b(str(pixels.shape).encode(), key=key, digest_size=DIGEST_BYTES)
    digest.update(pixels.tobytes())
    square = center_square(kept)
    histogram = square.histogram()
    prepared = PreparedImage(
        image.path, image.label, stored, _pixel_sums(histogram, square.size[0] ** 2)
    )
    is_gray = kept.mode == "RGB" and _is_gray(histogram, pixels)
    return _Decoded(prepared, digest.digest(), min(kept.size), decoded.file, is_gray)


def _is_gray(histogram: list[int], pixels: Pixels) -> bool:
    """Return whether all channels are equal; a coloured image is told by its histogram alone."""
    red, green, blue = histogram[:256], histogram[256:512], histogram[512:]
    return red == green == blue and bool(
        (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    )


def _pixel_sums(histogram: list[int], num_pixels: int) -> PixelSums:
    counts = np.array(histogram, dtype=np.int64).reshape(-1, 256)
    values, squares = counts @ LEVELS, counts @ LEVELS**2
    repeated = CHANNELS // len(counts)
    r, g, b = [int(v) for v in values] * repeated
    rr, gg, bb = [int(v) for v in squares] * repeated
    return PixelSums(num_pixels, (r, g, b), (rr, gg, bb))


# ---- second pass ------------------------------------------------------------------------------


def _write_shards(
    staging: Staging,
    assignment: Assignment,
    folder: Path,
    options: DatasetOptions,
    reporter: Reporter,
) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel over the training images."""
    total = np.zeros(2 * CHANNELS + 1, dtype=object)
    tracker = reporter.track("write", total=int((assignment.split >= 0).sum()), unit="images")
    ordered = assignment.split[assignment.order]
    for code, name in enumerate(SPLIT_NAMES):
        writer = ShardWriter(folder, name, shard_rows=options.shard_rows)
        for index in assignment.order[ordered == code]:
            image = staging.read(int(index))
            writer.add(image.content, path=image.path, label=image.label)
            if code == TRAIN:
                sums = image.sums
                total += np.array([sums.num_pixels, *sums.values, *sums.squares], dtype=object)
            tracker.advance()
        writer.close()
    return channel_statistics(total)


def _write_description(
    folder: Path, class_names: Sequence[str], statistics: Mapping[str, Any]
) -> None:
    from ofa_pipeline.documents import ClassNames, PixelStatistics

    write_json(folder / Layout.CLASSES, ClassNames(class_names=tuple(class_names)).to_dict())
    write_json(folder / Layout.STATISTICS, PixelStatistics.from_dict(statistics).to_dict())


def _write_quarantine(path: Path, by_fate: Mapping[Fate, list[_Excluded]]) -> None:
    files = [file for found in by_fate.values() for file in found]
    excluded = sorted(files, key=_by_path)
    write_table(
        path,
        QUARANTINE_SCHEMA,
        {
            "path": [item.path for item in excluded],
            "label": [item.label for item in excluded],
            "reason": [item.reason for item in excluded],
        },
    )


def _by_path(file: _Excluded) -> tuple[str, str]:
    return file.path, file.reason
