"""Images: sources, preparation to Parquet, splits as batches, transforms on the device.

Importing this package does not import torch; reading batches, and `transforms`, does.
"""

from ofa_pipeline.data.crop import uncropped_side_px
from ofa_pipeline.data.dataset import Batch, Dataset, Split, open_dataset
from ofa_pipeline.data.direct import Decoding, SourceImages
from ofa_pipeline.data.footprint import PHOTOS, SQUARES, Footprint, Proportions
from ofa_pipeline.data.normalization import IMAGENET_NORMALIZATION, Normalization
from ofa_pipeline.data.options import DatasetOptions
from ofa_pipeline.data.prepare import prepare_dataset
from ofa_pipeline.data.resident import (
    Shuffled,
    augmentation_version,
    near_device,
    room_for_images,
)
from ofa_pipeline.data.splits import SPLIT_NAMES, SplitName

__all__ = [
    "IMAGENET_NORMALIZATION",
    "PHOTOS",
    "SPLIT_NAMES",
    "SQUARES",
    "Batch",
    "Dataset",
    "DatasetOptions",
    "Decoding",
    "Footprint",
    "Normalization",
    "Proportions",
    "Shuffled",
    "SourceImages",
    "Split",
    "SplitName",
    "augmentation_version",
    "near_device",
    "open_dataset",
    "prepare_dataset",
    "room_for_images",
    "uncropped_side_px",
]

OPEN_MODULES = ("crop", "decode", "sources", "transforms")
"""The first two are copied into bundles, as they are; the third is a room in this one; the last
needs torch, which who looks at a source or classifies with ONNX Runtime does not."""
