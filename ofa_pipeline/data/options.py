"""What to prepare of a dataset, and how."""

from dataclasses import dataclass

from ofa_pipeline.data.decode import ValueRange


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
