"""Architectures and the spaces that they are drawn from.

`Arch` is one subnet as a frozen value. `SearchSpace` is the choices of every elastic dimension
and the fixed shape around them; it turns architectures into integer gene arrays and back, and
samples, mutates, crosses and encodes hundreds of thousands of them at a time in numpy.
"""

from ofa_pipeline.arch.blocks import (
    MBConvShape,
    first_mbconv_shape,
    group_channels,
    inner_stem_channels,
    mbconv_shapes,
    stem_channels,
)
from ofa_pipeline.arch.resolution import resolution_choices, resolution_values_px
from ofa_pipeline.arch.shape import (
    Activation,
    Backbone,
    BlockGroup,
    MBConvBackbone,
    ResNetBackbone,
    expanded_channels,
    make_divisible,
    squeezed_channels,
)
from ofa_pipeline.arch.space import BoolArray, FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.arch.value import Arch

__all__ = [
    "Activation",
    "Arch",
    "Backbone",
    "BlockGroup",
    "BoolArray",
    "FloatArray",
    "Genes",
    "IntArray",
    "MBConvBackbone",
    "MBConvShape",
    "ResNetBackbone",
    "SearchSpace",
    "expanded_channels",
    "first_mbconv_shape",
    "group_channels",
    "inner_stem_channels",
    "make_divisible",
    "mbconv_shapes",
    "resolution_choices",
    "resolution_values_px",
    "squeezed_channels",
    "stem_channels",
]
