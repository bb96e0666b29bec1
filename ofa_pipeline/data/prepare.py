"""`prepare_dataset`: any source to Parquet shards, decoding each image once.

First pass: decode, check, bring to size, hash and add up the pixels, append to a staging file.
Then everything is known that the splits depend on. Second pass: copy the staged images to the
shards of their splits, in an order that is random but depends on the pixels alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.data.first_pass import Excluded, FirstPass, stage_images
from ofa_pipeline.data.options import DatasetOptions
from ofa_pipeline.data.shards import ShardWriter
from ofa_pipeline.data.sources import (
    Columns,
    DatasetSource,
    check_class_names,
    check_classes,
    open_source,
)
from ofa_pipeline.data.splits import (
    LEFT_OUT,
    SPLIT_NAMES,
    TRAIN,
    Assignment,
    SplitName,
    UsableImages,
    assign_splits,
)
from ofa_pipeline.data.staging import CHANNELS, Staging, channel_statistics
from ofa_pipeline.data.summarize import Outcome, summarize
from ofa_pipeline.data.survey import Survey
from ofa_pipeline.dataset_summary import Fate, write_summary
from ofa_pipeline.errors import DatasetError
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.tables import QUARANTINE_SCHEMA, write_table

MIN_STD = 1 / 255
"""Smallest deviation of a channel, one gray level: a constant channel is not divided by zero."""


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
        first = stage_images(source, options, staging, reporter)
        candidates = staging.candidates()
        assignment = _assign(candidates, source, options, first.survey)
        copies = _copies_left_out(staging, assignment)
        mean, std = _write_shards(staging, assignment, folder, options, reporter)
    excluded: dict[Fate, list[Excluded]] = {
        "lost": first.bad,
        "skipped": [Excluded(file.path, None, file.reason) for file in source.skipped],
        "left out": copies,
    }
    _write_quarantine(folder / Layout.QUARANTINE, excluded)
    outcome = _outcome(options, source, candidates, assignment, first, excluded)
    statistics = {
        "mean": mean,
        "std": [max(s, MIN_STD) for s in std],
        "image_size_px": outcome.image_size_px,
        "value_range": options.value_range,
    }
    _write_description(folder, source.class_names, statistics)
    summary = summarize(outcome)
    write_summary(summary, folder)
    return {
        "num_images": {split.name: split.num_images for split in summary.splits},
        "num_classes": summary.num_classes,
        "image_size_px": outcome.image_size_px,
        "num_unreadable": len(first.bad),
        "num_skipped_files": len(excluded["skipped"]),
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


def _copies_left_out(staging: Staging, assignment: Assignment) -> list[Excluded]:
    left_out = np.flatnonzero(assignment.split == LEFT_OUT).tolist()
    return [
        Excluded(image.path, image.label, "a held-out image has the same pixels")
        for image in map(staging.read, left_out)
    ]


def _outcome(
    options: DatasetOptions,
    source: DatasetSource,
    candidates: UsableImages,
    assignment: Assignment,
    first: FirstPass,
    excluded: Mapping[Fate, list[Excluded]],
) -> Outcome:
    return Outcome(
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
        image_size_px=min(options.image_size_px, first.largest_px),
        value_range=options.value_range,
        notes=source.notes,
    )


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


def _write_quarantine(path: Path, by_fate: Mapping[Fate, list[Excluded]]) -> None:
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


def _by_path(file: Excluded) -> tuple[str, str]:
    return file.path, file.reason
