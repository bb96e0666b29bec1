"""Images: sources, preparation to Parquet, splits as batches, transforms on the device."""

from ofa_pipeline.data.dataset import SPLIT_NAMES, Batch, Dataset, Split, SplitName, open_dataset
from ofa_pipeline.data.decode import read_image
from ofa_pipeline.data.transforms import Augmentation, augment, resize_normalize

__all__ = [
    "SPLIT_NAMES",
    "Augmentation",
    "Batch",
    "Dataset",
    "Split",
    "SplitName",
    "augment",
    "open_dataset",
    "read_image",
    "resize_normalize",
]
