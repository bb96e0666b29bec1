"""Write the reference's ``net.config``: a static network as JSON."""

from dataclasses import dataclass
from typing import Any

from ofa_pipeline.arch import (
    Arch,
    BlockGroup,
    MBConvBackbone,
    ResNetBackbone,
    SearchSpace,
    expanded_channels,
    make_divisible,
)

Config = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """What a configuration says: an architecture of a space, its classes and dropout."""

    space: SearchSpace
    """The supernet's space, with the batch-norm parameters of the configuration."""
    arch: Arch
    """Its resolution is the space's largest, because a configuration does not state one."""
    num_classes: int
    dropout: float


def write_net_config(spec: NetworkSpec) -> Config:
    """Return the configuration of a static network, as the reference writes it."""
    spec.space.check(spec.arch)
    bn = {
        "momentum": spec.space.backbone.bn_momentum,
        "eps": spec.space.backbone.bn_eps,
        "ws_eps": None,
    }
    backbone = spec.space.backbone
    if isinstance(backbone, ResNetBackbone):
        return {"name": "ResNets", "bn": bn, **_resnet_layers(spec, backbone)}
    name = "MobileNetV3" if backbone.feature_mix_channels is not None else "ProxylessNASNets"
    return {"name": name, "bn": bn, **_mbconv_layers(spec, backbone)}


def _conv(in_channels: int, out_channels: int, activation: str | None, **changes: Any) -> Config:  # noqa: ANN401
    return {
        "name": "ConvLayer",
        "kernel_size": 1,
        "stride": 1,
        "dilation": 1,
        "groups": 1,
        "bias": False,
        "has_shuffle": False,
        "use_se": False,
        "in_channels": in_channels,
        "out_channels": out_channels,
        "use_bn": True,
        "act_func": activation,
        "dropout_rate": 0,
        "ops_order": "weight_bn_act",
        **changes,
    }


def _identity(channels: int) -> Config:
    return {
        "name": "IdentityLayer",
        "in_channels": channels,
        "out_channels": channels,
        "use_bn": False,
        "act_func": None,
        "dropout_rate": 0,
        "ops_order": "weight_bn_act",
    }


def _classifier(in_features: int, spec: NetworkSpec) -> Config:
    return {
        "name": "LinearLayer",
        "in_features": in_features,
        "out_features": spec.num_classes,
        "bias": True,
        "use_bn": False,
        "act_func": None,
        "dropout_rate": spec.dropout,
        "ops_order": "weight_bn_act",
    }


def _mbconv_layers(spec: NetworkSpec, backbone: MBConvBackbone) -> Config:
    stem = backbone.stem_channels
    first = backbone.first_block_channels
    first_group = BlockGroup(
        out_channels=first,
        stride=1,
        depths=(1,),
        kernel_sizes=(3,),
        expand_ratios=(1,),
        activation=backbone.first_block_activation,
    )
    blocks = [_mbconv_block(stem, first_group, kernel_size=3, expand_ratio=1, is_first=True)]
    block, channels = 0, first
    for group, depth in zip(spec.space.block_groups, spec.arch.depths, strict=True):
        for index in range(depth):
            blocks.append(
                _mbconv_block(
                    channels,
                    group,
                    kernel_size=spec.arch.kernel_sizes[block],
                    expand_ratio=spec.arch.expand_ratios[block],
                    is_first=index == 0,
                )
            )
            block, channels = block + 1, group.out_channels
    final, head = backbone.final_channels, backbone.head_activation
    layers: Config = {
        "first_conv": _conv(3, stem, backbone.stem_activation, kernel_size=3, stride=2),
        "blocks": blocks,
    }
    if backbone.feature_mix_channels is None:
        layers["feature_mix_layer"] = _conv(channels, final, head)
        layers["classifier"] = _classifier(final, spec)
    else:
        mixed = backbone.feature_mix_channels
        layers["final_expand_layer"] = _conv(channels, final, head)
        layers["feature_mix_layer"] = _conv(final, mixed, head, use_bn=False)
        layers["classifier"] = _classifier(mixed, spec)
    return layers


def _mbconv_block(
    in_channels: int, group: BlockGroup, *, kernel_size: int, expand_ratio: float, is_first: bool
) -> Config:
    stride = group.stride if is_first else 1
    has_shortcut = stride == 1 and in_channels == group.out_channels
    is_static = expand_ratio == 1
    return {
        "name": "ResidualBlock",
        "conv": {
            "name": "MBConvLayer",
            "in_channels": in_channels,
            "out_channels": group.out_channels,
            "kernel_size": kernel_size,
            "stride": stride,
            "expand_ratio": _plain(expand_ratio),
            "mid_channels": None if is_static else expanded_channels(in_channels, expand_ratio),
            "act_func": group.activation,
            "use_se": group.use_se,
            "groups": None,
        },
        "shortcut": _identity(in_channels) if has_shortcut else None,
    }


def _resnet_layers(spec: NetworkSpec, backbone: ResNetBackbone) -> Config:
    stem_group, *groups = spec.space.block_groups
    inner_width, stem_width, *group_widths = spec.arch.width_multipliers
    base = backbone.stem_channels
    inner = make_divisible(make_divisible(base * inner_width) // 2)
    outer = make_divisible(base * stem_width)
    stem = [_conv(3, inner, "relu", kernel_size=3, stride=2)]
    stem_depth, *depths = spec.arch.depths
    if stem_depth:
        stem.append(
            {
                "name": "ResidualBlock",
                "conv": _conv(inner, inner, stem_group.activation, kernel_size=3),
                "shortcut": _identity(inner),
            }
        )
    stem.append(_conv(inner, outer, "relu", kernel_size=3))
    blocks = []
    block, channels = stem_depth, outer
    for group, depth, width in zip(groups, depths, group_widths, strict=True):
        out_channels = make_divisible(group.out_channels * width)
        for index in range(depth):
            ratio = spec.arch.expand_ratios[block]
            blocks.append(
                {
                    "name": "ResNetBottleneckBlock",
                    "in_channels": channels,
                    "out_channels": out_channels,
                    "kernel_size": 3,
                    "stride": group.stride if index == 0 else 1,
                    "expand_ratio": ratio,
                    "mid_channels": make_divisible(round(out_channels * ratio)),
                    "act_func": group.activation,
                    "groups": 1,
                    "downsample_mode": "avgpool_conv",
                }
            )
            block, channels = block + 1, out_channels
    return {"input_stem": stem, "blocks": blocks, "classifier": _classifier(channels, spec)}


def _plain(ratio: float) -> float:
    return int(ratio) if ratio == int(ratio) else ratio
