"""Images: sources, preparation to Parquet, splits as batches, transforms on the device."""

from ofa_pipeline.data.crop import uncropped_side_px
from ofa_pipeline.data.dataset import Batch, Dataset, Split, open_dataset
from ofa_pipeline.data.direct import Decoding, SourceImages
from ofa_pipeline.data.normalization import IMAGENET_NORMALIZATION, Normalization
from ofa_pipeline.data.options import DatasetOptions
from ofa_pipeline.data.prepare import prepare_dataset
from ofa_pipeline.data.splits import SPLIT_NAMES, SplitName
from ofa_pipeline.data.transforms import Augmentation, augment, resize_normalize

__all__ = [
    "IMAGENET_NORMALIZATION",
    "SPLIT_NAMES",
    "Augmentation",
    "Batch",
    "Dataset",
    "DatasetOptions",
    "Decoding",
    "Normalization",
    "SourceImages",
    "Split",
    "SplitName",
    "augment",
    "open_dataset",
    "prepare_dataset",
    "resize_normalize",
    "uncropped_side_px",
]

OPEN_MODULES = ("crop", "decode", "sources")
"""The first two are copied into bundles, as they are; the third is a room in this one."""
