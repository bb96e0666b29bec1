"""What supernets of each family consist of, by the reference's names, and setting their sizes."""

import itertools
from collections.abc import Sequence

from torch import nn

from ofa_pipeline.arch import (
    Activation,
    BlockGroup,
    MBConvBackbone,
    ResNetBackbone,
    SearchSpace,
    first_mbconv_shape,
    group_channels,
    inner_stem_channels,
    mbconv_shapes,
    stem_channels,
)
from ofa_pipeline.reference.hub.blocks import (
    ElasticBottleneckBlock,
    ElasticMBConvLayer,
    ElasticResidualBlock,
    Skippable,
    elastic_conv,
)
from ofa_pipeline.reference.hub.elastic import ElasticLinear, extract, resize
from ofa_pipeline.reference.hub.layers import (
    GlobalAvgPool2d,
    MBConvLayer,
    PointwiseConv2d,
    ResidualBlock,
    build_activation,
    build_sequence,
)
from ofa_pipeline.reference.hub.settings import ActiveSettings, is_mbconv

Parts = dict[str, nn.Module]


def supernet_parts(space: SearchSpace, *, num_classes: int, dropout: float) -> Parts:
    """Return the parts of a supernet, in the order in which they run, the largest subnet active."""
    if isinstance(space.backbone, MBConvBackbone):
        return _mbconv_parts(space, space.backbone, num_classes=num_classes, dropout=dropout)
    return _resnet_parts(space, num_classes=num_classes, dropout=dropout)


def active_parts(parts: Parts) -> Parts:
    """Return plain copies of what is active in a supernet's parts, without skipped blocks."""
    return {name: _without_skipped(part) for name, part in parts.items()}


def _without_skipped(part: nn.Module) -> nn.Module:
    if not any(isinstance(child, Skippable) for child in part.children()):
        return extract(part)
    running = [
        child for child in part.children() if not isinstance(child, Skippable) or child.is_active
    ]
    return nn.Sequential(*(extract(child) for child in running))


def activate(parts: Parts, settings: ActiveSettings) -> None:
    """Set the sizes in a supernet's parts; what a user has removed or replaced is left alone."""
    depths = settings.depths()
    blocks = [m for part in parts.values() for m in part.modules() if isinstance(m, Skippable)]
    for block in blocks:
        block.is_active = block.index < depths[block.group]
    if is_mbconv(settings.space):
        _activate_mbconv(blocks, settings)
    else:
        _activate_resnet(parts, blocks, settings)


def _mbconv_parts(
    space: SearchSpace, backbone: MBConvBackbone, *, num_classes: int, dropout: float
) -> Parts:
    final, mixed = backbone.final_channels, backbone.feature_mix_channels
    head, last = backbone.head_activation, space.block_groups[-1].out_channels
    stem = nn.Conv2d(
        3, backbone.stem_channels, 3, stride=backbone.stem_stride, padding=1, bias=False
    )
    expand = _static_conv(nn.Conv2d(last, final, 1, bias=False), backbone, head)
    parts: Parts = {
        "first_conv": _static_conv(stem, backbone, backbone.stem_activation),
        "blocks": nn.Sequential(_first_block(backbone), *_mbconv_blocks(space)),
    }
    if mixed is None:
        parts["feature_mix_layer"] = expand
        parts["global_avg_pool"] = GlobalAvgPool2d(keep_dim=False)
    else:
        parts["final_expand_layer"] = expand
        parts["global_avg_pool"] = GlobalAvgPool2d(keep_dim=True)
        parts["feature_mix_layer"] = build_sequence(
            conv=PointwiseConv2d(final, mixed, bias=False), act=build_activation(head)
        )
    parts["classifier"] = _classifier(nn.Linear(mixed or final, num_classes), dropout)
    return parts


def _static_conv(
    conv: nn.Conv2d, backbone: MBConvBackbone, activation: Activation | None
) -> nn.Sequential:
    return build_sequence(
        conv=conv,
        bn=nn.BatchNorm2d(conv.out_channels, eps=backbone.bn_eps, momentum=backbone.bn_momentum),
        act=None if activation is None else build_activation(activation),
    )


def _first_block(backbone: MBConvBackbone) -> ResidualBlock:
    shape = first_mbconv_shape(backbone)
    channels = shape.in_channels
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    project = nn.Conv2d(channels, shape.out_channels, 1, bias=False)
    conv = MBConvLayer(
        None,
        _static_conv(depthwise, backbone, shape.activation),
        _static_conv(project, backbone, None),
    )
    return ResidualBlock(conv, nn.Identity() if shape.has_shortcut else None)


def _mbconv_blocks(space: SearchSpace) -> list[nn.Module]:
    groups = zip(mbconv_shapes(space), space.block_groups, strict=True)
    return [
        ElasticResidualBlock(
            ElasticMBConvLayer(
                shape, kernel_sizes=group.kernel_sizes, expand_ratios=group.expand_ratios
            ),
            nn.Identity() if shape.has_shortcut else None,
            at=(number, index),
        )
        for number, (shapes, group) in enumerate(groups)
        for index, shape in enumerate(shapes)
    ]


def _resnet_parts(space: SearchSpace, *, num_classes: int, dropout: float) -> Parts:
    backbone = space.backbone
    assert isinstance(backbone, ResNetBackbone)
    norm = {"eps": backbone.bn_eps, "momentum": backbone.bn_momentum}
    channels = stem_channels(backbone, 1.0)
    blocks: list[nn.Module] = []
    for number, group in enumerate(space.block_groups[1:], start=1):
        for index in range(group.max_depth):
            blocks.append(ElasticBottleneckBlock(channels, group, at=(number, index), norm=norm))
            channels = group_channels(group, 1.0)
    return {
        "input_stem": _resnet_stem(backbone, space.block_groups[0], norm),
        "max_pooling": nn.MaxPool2d(3, stride=2, padding=1),
        "blocks": nn.Sequential(*blocks),
        "global_avg_pool": GlobalAvgPool2d(keep_dim=False),
        "classifier": _classifier(ElasticLinear(channels, num_classes), dropout),
    }


def _resnet_stem(
    backbone: ResNetBackbone, group: BlockGroup, norm: dict[str, float]
) -> nn.Sequential:
    act = group.activation
    inner, outer = inner_stem_channels(backbone, 1.0), stem_channels(backbone, 1.0)
    residual = [
        ElasticResidualBlock(
            elastic_conv(inner, inner, shape=(3, 1), activation=act, norm=norm),
            nn.Identity(),
            at=(0, index),
        )
        for index in range(group.max_depth)
    ]
    return nn.Sequential(
        elastic_conv(3, inner, shape=(3, 2), activation=act, norm=norm),
        *residual,
        elastic_conv(inner, outer, shape=(3, 1), activation=act, norm=norm),
    )


def _classifier(linear: nn.Module, dropout: float) -> nn.Sequential:
    return build_sequence(dropout=nn.Dropout(dropout) if dropout else None, linear=linear)


def _activate_mbconv(blocks: Sequence[Skippable], settings: ActiveSettings) -> None:
    first = _first_slots(settings.space.block_groups)
    for block in blocks:
        slot = first[block.group] + block.index
        for layer in block.children():
            if isinstance(layer, ElasticMBConvLayer):
                layer.activate(
                    kernel_size=settings.values["ks"][slot],
                    expand_ratio=settings.values["e"][slot],
                )


def _activate_resnet(parts: Parts, blocks: Sequence[Skippable], settings: ActiveSettings) -> None:
    space = settings.space
    backbone = space.backbone
    assert isinstance(backbone, ResNetBackbone)
    inner_width, stem_width, *widths = (
        space.width_multipliers[index] for index in settings.values["w"]
    )
    groups = space.block_groups[1:]
    outer = [stem_channels(backbone, stem_width)]
    outer += [group_channels(*pair) for pair in zip(groups, widths, strict=True)]
    first = _first_slots(groups)
    for block in blocks:
        if isinstance(block, ElasticBottleneckBlock):
            group = block.group
            block.activate(
                in_channels=outer[group] if block.index else outer[group - 1],
                out_channels=outer[group],
                expand_ratio=settings.values["e"][first[group - 1] + block.index],
            )
    if "input_stem" in parts:
        _activate_stem(parts["input_stem"], inner_stem_channels(backbone, inner_width), outer[0])
    if "classifier" in parts:
        resize(parts["classifier"], inputs=outer[-1])


def _activate_stem(stem: nn.Module, inner: int, outer: int) -> None:
    layers = list(stem.children())
    for number, layer in enumerate(layers):
        is_first, is_last = number == 0, number == len(layers) - 1
        resize(layer, inputs=3 if is_first else inner, outputs=outer if is_last else inner)


def _first_slots(groups: Sequence[BlockGroup]) -> list[int]:
    """Return the number of block slots before each group."""
    return [0, *itertools.accumulate(group.max_depth for group in groups)]
