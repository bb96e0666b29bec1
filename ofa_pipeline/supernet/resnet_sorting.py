"""Sort the channels of the elastic ResNet by importance: inside blocks, and between them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ofa_pipeline.arch import (
    BlockGroup,
    ResNetBackbone,
    expanded_channels,
    group_channels,
    inner_stem_channels,
    stem_channels,
)
from ofa_pipeline.supernet.blocks import ElasticConvNorm
from ofa_pipeline.supernet.ordering import order_by_importance, permute, permute_norm
from ofa_pipeline.supernet.resnet import ElasticBottleneck, ResNetSupernet


def sort_bottlenecks(
    supernet: ResNetSupernet, *, ratios: Sequence[float], widths: Sequence[float]
) -> None:
    """Sort the inner channels of every bottleneck, in place.

    Args:
        supernet: Reordered in place.
        ratios: Expand ratios that are trained already.
        widths: Width multipliers that are trained already. Every inner width that they and the
            ratios give keeps its channels (the reference protects the largest width's alone).
    """
    for blocks, group in zip(supernet.groups, supernet.space.block_groups, strict=True):
        sizes = [
            expanded_channels(group_channels(group, width), ratio)
            for width in widths
            for ratio in ratios
        ]
        for block in blocks.children():
            if isinstance(block, ElasticBottleneck):
                _sort_outputs(block.conv2, [block.conv3], trained_sizes=sizes)
                _sort_outputs(block.conv1, [block.conv2], trained_sizes=sizes)


@torch.no_grad()
def sort_widths(supernet: ResNetSupernet, *, trained_width_multipliers: Sequence[float]) -> None:
    """Reorder the channels between the blocks by importance, in place, before a width phase.

    All blocks of a group write to the same channels, so these move together, and with them the
    weights that read them in the group, in the next group or in the classifier. The largest
    network computes what it did before, up to rounding.

    Args:
        supernet: Reordered in place.
        trained_width_multipliers: Whose channels stay together at the front.

    Source:
        Cai et al. 2020 (arXiv:1908.09791), section 3.3, "elastic width", applied to the
        outer width; the reference calls a function for it that does not exist.
    """
    backbone = supernet.space.backbone
    assert isinstance(backbone, ResNetBackbone)
    stem_blocks = [b for b in supernet.groups[0].children() if isinstance(b, ElasticConvNorm)]
    inner = [inner_stem_channels(backbone, width) for width in trained_width_multipliers]
    _sort_stream([supernet.stem_in, *stem_blocks], [*stem_blocks, supernet.stem_out], inner)
    groups = [_bottlenecks(supernet, number) for number in range(1, len(supernet.groups))]
    outer = [stem_channels(backbone, width) for width in trained_width_multipliers]
    _sort_stream([supernet.stem_out], _readers(groups[0][:1]), outer)
    shapes = supernet.space.block_groups[1:]
    for number, (blocks, group) in enumerate(zip(groups, shapes, strict=True)):
        following = groups[number + 1][:1] if number + 1 < len(groups) else []
        readers: list[ElasticConvNorm | Tensor] = [*_readers(blocks[1:]), *_readers(following)]
        if not following:
            readers.append(supernet.classifier.weight)
        _sort_stream(_writers(blocks), readers, _sizes(group, trained_width_multipliers))


def _bottlenecks(supernet: ResNetSupernet, number: int) -> list[ElasticBottleneck]:
    return [b for b in supernet.groups[number].children() if isinstance(b, ElasticBottleneck)]


def _sizes(group: BlockGroup, widths: Sequence[float]) -> list[int]:
    return [group_channels(group, width) for width in widths]


def _writers(blocks: Sequence[ElasticBottleneck]) -> list[ElasticConvNorm]:
    shortcuts = [block.downsample for block in blocks if block.downsample is not None]
    return [*(block.conv3 for block in blocks), *shortcuts]


def _readers(blocks: Sequence[ElasticBottleneck]) -> list[ElasticConvNorm]:
    shortcuts = [block.downsample for block in blocks if block.downsample is not None]
    return [*(block.conv1 for block in blocks), *shortcuts]


def _weight(reader: ElasticConvNorm | Tensor) -> Tensor:
    return reader if isinstance(reader, Tensor) else reader.conv.weight


def _sort_stream(
    writers: Sequence[ElasticConvNorm],
    readers: Sequence[ElasticConvNorm | Tensor],
    trained_sizes: Sequence[int],
) -> None:
    """Reorder channels that several layers write and several read."""
    importance = torch.stack(
        [_weight(reader).abs().transpose(0, 1).flatten(1).sum(dim=1) for reader in readers]
    ).sum(dim=0)
    order = order_by_importance(importance, trained_sizes=trained_sizes)
    for writer in writers:
        permute(writer.conv.weight, 0, order)
        permute_norm(writer.norm, order)
    for reader in readers:
        permute(_weight(reader), 1, order)


def _sort_outputs(
    writer: ElasticConvNorm, readers: Sequence[ElasticConvNorm], *, trained_sizes: Sequence[int]
) -> None:
    _sort_stream([writer], readers, trained_sizes)
