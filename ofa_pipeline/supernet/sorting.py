"""Sort channels by importance, so that a smaller subnet keeps the channels that matter."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from ofa_pipeline.arch import expanded_channels, squeezed_channels
from ofa_pipeline.supernet.blocks import ElasticMBConv
from ofa_pipeline.supernet.build import Supernet
from ofa_pipeline.supernet.elastic_ops import ElasticSqueezeExcite
from ofa_pipeline.supernet.ordering import order_by_importance, permute, permute_norm
from ofa_pipeline.supernet.resnet import ResNetSupernet
from ofa_pipeline.supernet.resnet_sorting import sort_bottlenecks, sort_widths


def sort_for_smaller(
    supernet: Supernet,
    *,
    trained: tuple[Sequence[float], Sequence[float] | None],
    wanted: tuple[Sequence[float], Sequence[float] | None],
) -> None:
    """Sort channels by importance where a phase adds smaller expand ratios or widths.

    Args:
        supernet: Reordered in place, or left alone where nothing smaller is added.
        trained: Expand ratios and width multipliers that the phases so far have trained; without
            multipliers, all of the space.
        wanted: Those of the phase that comes.
    """
    every_width = supernet.space.width_multipliers
    ratios, widths = trained[0], trained[1] or every_width
    if set(wanted[0]) - set(ratios):
        sort_channels(
            supernet,
            trained_expand_ratios=ratios,
            trained_width_multipliers=widths or (1.0,),
        )
    is_narrower = set(wanted[1] or every_width) - set(widths)
    if isinstance(supernet, ResNetSupernet) and is_narrower:
        sort_widths(supernet, trained_width_multipliers=widths)


@torch.no_grad()
def sort_channels(
    supernet: Supernet,
    *,
    trained_expand_ratios: Sequence[float],
    trained_width_multipliers: Sequence[float] = (1.0,),
) -> None:
    """Reorder the inner channels of every block by importance, in place.

    A channel's importance is the L1 norm of the weights that read it. Channels move only within
    the groups that the trained widths bound, and so do the hidden units of squeeze-excite: every
    subnet of a trained expand ratio computes what it did before, up to rounding.

    Args:
        supernet: Reordered in place; batch-norm statistics move along.
        trained_expand_ratios: What the phases so far have trained. The largest alone leaves
            the order free.
        trained_width_multipliers: Likewise, where width is elastic.

    Raises:
        ArchError: If a ratio is not one of the space.

    Source:
        Cai et al. 2020 (arXiv:1908.09791), section 3.3, "elastic width". The reference moves
        the units of squeeze-excite freely, which changes the trained smaller subnets, and sorts
        with float offsets that round the importance; here the groups are sorted one by one.
    """
    uncoupled = replace(supernet.space, is_coupled=False)  # ratios alone: no depth goes with them
    uncoupled.restrict(expand_ratios=trained_expand_ratios)
    if isinstance(supernet, ResNetSupernet):
        widths = trained_width_multipliers
        sort_bottlenecks(supernet, ratios=trained_expand_ratios, widths=widths)
    for block in supernet.modules():
        if isinstance(block, ElasticMBConv) and block.expand is not None:
            _sort_mbconv(block, trained_expand_ratios)


def _sort_mbconv(block: ElasticMBConv, ratios: Sequence[float]) -> None:
    widths = [expanded_channels(block.shape.in_channels, ratio) for ratio in ratios]
    assert block.expand is not None
    project = block.project.conv.weight
    order = order_by_importance(project.abs().sum(dim=(0, 2, 3)), trained_sizes=widths)
    permute(project, 1, order)
    for tensor in (block.depthwise.conv.weight, block.expand.conv.weight):
        permute(tensor, 0, order)
    permute_norm(block.depthwise.norm, order)
    permute_norm(block.expand.norm, order)
    if block.se is not None:
        permute(block.se.expand.weight, 0, order)
        permute(block.se.expand.bias, 0, order)
        permute(block.se.reduce.weight, 1, order)
        _sort_hidden(block.se, trained_sizes=[squeezed_channels(width) for width in widths])


def _sort_hidden(se: ElasticSqueezeExcite, *, trained_sizes: Sequence[int]) -> None:
    importance = se.expand.weight.abs().sum(dim=0)
    order = order_by_importance(importance, trained_sizes=trained_sizes)
    permute(se.expand.weight, 1, order)
    permute(se.reduce.weight, 0, order)
    permute(se.reduce.bias, 0, order)
