"""The supernet, the subnets inside it, and the way from one to the other."""

from ofa_pipeline.supernet.build import (
    Subnet,
    Supernet,
    build_subnet,
    build_supernet,
    empty_supernet,
    zero_last_scales,
)
from ofa_pipeline.supernet.dropout import dropout_generator
from ofa_pipeline.supernet.elastic_ops import ElasticBatchNorm
from ofa_pipeline.supernet.extraction import extract_subnet, store_statistics
from ofa_pipeline.supernet.folding import fold_batch_norm
from ofa_pipeline.supernet.network import MBConvSupernet
from ofa_pipeline.supernet.padded import PaddedSupernet
from ofa_pipeline.supernet.regions import check_compiler, compile_regions
from ofa_pipeline.supernet.resnet import ResNetSupernet
from ofa_pipeline.supernet.resnet_sorting import sort_widths
from ofa_pipeline.supernet.sorting import sort_channels, sort_for_smaller
from ofa_pipeline.supernet.storage import (
    check_supernet,
    load_subnet,
    load_supernet,
    save_subnet,
    save_supernet,
)

__all__ = [
    "ElasticBatchNorm",
    "MBConvSupernet",
    "PaddedSupernet",
    "ResNetSupernet",
    "Subnet",
    "Supernet",
    "build_subnet",
    "build_supernet",
    "check_compiler",
    "check_supernet",
    "compile_regions",
    "dropout_generator",
    "empty_supernet",
    "extract_subnet",
    "fold_batch_norm",
    "load_subnet",
    "load_supernet",
    "save_subnet",
    "save_supernet",
    "sort_channels",
    "sort_for_smaller",
    "sort_widths",
    "store_statistics",
    "zero_last_scales",
]
