"""The shape of a network around its elastic dimensions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Activation = Literal["relu", "relu6", "h_swish"]

# Rounding channels must not lose more than 10 % of them.
_MIN_SHARE = 0.9


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of `divisor`, never more than 10 % down.

    Source:
        The rounding of MobileNetV2/V3 as the reference does it: half a divisor is added and
        truncated first, then rounded down.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < _MIN_SHARE * value else rounded


def expanded_channels(channels: int, expand_ratio: float) -> int:
    """Return the inner width of a block: of its input (MBConv) or output (bottleneck) channels."""
    return make_divisible(round(channels * expand_ratio))


def squeezed_channels(channels: int) -> int:
    """Return the hidden units of squeeze-excite over `channels`: a quarter, made divisible."""
    return make_divisible(channels // 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockGroup:
    """A sequence of blocks at one feature-map size, and what is elastic in it."""

    out_channels: int
    """At width multiplier 1."""
    stride: int
    """Stride of the first block; the others have stride 1."""
    depths: tuple[int, ...]
    """Numbers of blocks that may run, ascending."""
    kernel_sizes: tuple[int, ...]
    """Ascending, odd."""
    expand_ratios: tuple[float, ...]
    """Ascending."""
    activation: Activation
    use_se: bool = False
    """Squeeze-excite after the depthwise convolution."""

    @property
    def max_depth(self) -> int:
        """Number of blocks that the supernet holds."""
        return self.depths[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class MBConvBackbone:
    """What is not elastic in a network of mobile inverted bottleneck blocks.

    Stem convolution 3x3, one static MBConv block (kernel 3, expand ratio 1), the elastic block
    groups, a 1x1 convolution with batch norm, global average pooling, optionally a 1x1
    convolution without batch norm or bias (MobileNetV3's feature mix), the classifier.
    """

    stem_channels: int
    stem_stride: int
    stem_activation: Activation
    first_block_channels: int
    first_block_activation: Activation
    final_channels: int
    """Outputs of the 1x1 convolution before pooling."""
    feature_mix_channels: int | None
    """Outputs of the 1x1 convolution after pooling; None in networks without it (ProxylessNAS)."""
    head_activation: Activation
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetBackbone:
    """What is not elastic in a ResNet-D of bottleneck blocks, at width multiplier 1."""

    stem_channels: int = 64
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1


Backbone = MBConvBackbone | ResNetBackbone


def write_shape(values: Mapping[str, Any], backbone: Backbone) -> dict[str, Any]:
    """Return the fields of a space as a JSON object, without what is derived or at its default.

    Args:
        values: The fields, as `dataclasses.asdict` returns them.
        backbone: That of the space.
    """
    kind = "mbconv" if isinstance(backbone, MBConvBackbone) else "resnet"
    left_out = {"block_offsets"} if values["is_coupled"] else {"block_offsets", "is_coupled"}
    kept = {key: value for key, value in values.items() if key not in left_out}
    kept["backbone"] = {"kind": kind, **kept["backbone"]}
    plain: dict[str, Any] = json.loads(json.dumps(kept))
    return plain


def read_shape(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a space from a JSON object, its backbone and block groups as values.

    Raises:
        KeyError: If the backbone or the block groups are missing, or the backbone is of no kind.
        TypeError: If one of their keys is missing or unknown.
    """
    kinds: dict[str, type[Backbone]] = {"mbconv": MBConvBackbone, "resnet": ResNetBackbone}
    backbone = dict(values["backbone"])
    kind = kinds[backbone.pop("kind")]
    groups = tuple(BlockGroup(**_tuples(group)) for group in values["block_groups"])
    return {**_tuples(values), "backbone": kind(**backbone), "block_groups": groups}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the lists of a JSON object into tuples."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
