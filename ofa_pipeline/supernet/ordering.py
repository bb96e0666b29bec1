"""Orders of channels by importance, and applying them."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from ofa_pipeline.supernet.elastic_ops import ElasticBatchNorm


def order_by_importance(importance: Tensor, *, trained_sizes: Sequence[int]) -> Tensor:
    """Return channel indices, most important first within each protected group.

    Args:
        importance: Shape (channels,).
        trained_sizes: Prefix sizes that must keep their channels.
    """
    bounds = sorted({0, *trained_sizes, len(importance)})
    orders = [
        start + torch.argsort(importance[start:stop], descending=True, stable=True)
        for start, stop in itertools.pairwise(bounds)
    ]
    return torch.cat(orders)


def permute(tensor: Tensor | None, dim: int, order: Tensor) -> None:
    """Reorder a tensor along one dimension, in place."""
    assert tensor is not None
    tensor.copy_(tensor.index_select(dim, order))


def permute_norm(norm: ElasticBatchNorm, order: Tensor) -> None:
    """Reorder the channels of a batch norm, statistics included, in place."""
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        permute(tensor, 0, order)
