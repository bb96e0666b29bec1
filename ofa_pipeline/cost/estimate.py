"""What architectures cost, whatever their family."""

from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import (
    Arch,
    FloatArray,
    Genes,
    IntArray,
    MBConvBackbone,
    SearchSpace,
    resolution_values_px,
)
from ofa_pipeline.cost.mbconv import count_mbconv
from ofa_pipeline.cost.resnet import count_resnet
from ofa_pipeline.cost.tally import Cost, Tally
from ofa_pipeline.errors import ArchError


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchCost:
    """What one architecture costs."""

    macs: int
    """Multiply-accumulates an image."""
    num_params: int
    """Trainable parameters of the extracted subnet."""


def arch_cost(
    space: SearchSpace, arch: Arch, *, num_classes: int, resolution_px: int | None = None
) -> ArchCost:
    """Count one architecture.

    Args:
        space: The space that the architecture is of.
        arch: The architecture.
        num_classes: Length of the logits.
        resolution_px: Count at this image size instead of the architecture's; any size will do.

    Raises:
        ArchError: If the architecture is not of the space.
    """
    sizes = None if resolution_px is None else np.array([resolution_px])
    cost = estimate_cost(space, space.genes([arch]), num_classes=num_classes, resolutions_px=sizes)
    return ArchCost(macs=int(cost.macs[0]), num_params=int(cost.num_params[0]))


def estimate_cost(
    space: SearchSpace,
    genes: Genes,
    *,
    num_classes: int,
    resolutions_px: IntArray | None = None,
    by_group: bool = False,
    tile_px: int = 1,
) -> Cost:
    """Count many architectures at once.

    Args:
        space: The space that the genes are of.
        genes: Shape (architectures, genes).
        num_classes: Length of the logits.
        resolutions_px: Image sizes to count at instead of the genes', shape (architectures,).
        by_group: Count each kind of layer in each block group apart, as ``KIND_groupN``.
        tile_px: Count the multiply-accumulates of a convolution at as many pixels as whole tiles of
            this many have.

    Raises:
        ArchError: If the genes are not of the space, or the image sizes are of another number.
    """
    space.check_genes(genes)
    if resolutions_px is None:
        resolutions_px = resolution_values_px(space, genes)
    if resolutions_px.shape != (len(genes),):
        raise ArchError(
            f"resolutions_px must have shape ({len(genes)},), one an architecture, "
            f"got {resolutions_px.shape}"
        )
    tally = Tally(len(genes), by_group=by_group, tile_px=tile_px)
    count = count_mbconv if isinstance(space.backbone, MBConvBackbone) else count_resnet
    count(tally, space, genes, num_classes=num_classes, resolutions_px=resolutions_px)
    return tally.cost(num_blocks=space.active_blocks(genes).sum(axis=1))


def latency_features(
    space: SearchSpace,
    genes: Genes,
    *,
    num_classes: int,
    by_group: bool = False,
    tile_px: int = 1,
) -> tuple[list[str], FloatArray]:
    """Return physical totals that explain latency.

    Args:
        space: The space that the genes are of.
        genes: Shape (architectures, genes).
        num_classes: Length of the logits.
        by_group: Count each kind of layer in each block group apart, as ``KIND_groupN``.
        tile_px: Pixels that the device's convolutions compute at once: the multiply-accumulates
            are those of whole tiles.

    Returns:
        Names, and an array (architectures, names): for each kind of layer ``macs_KIND`` and
        ``activations_KIND``; then ``elementwise_hard_swish``, ``elementwise_scale``,
        ``num_params``, ``num_blocks``, ``num_layers`` and ``input_pixels``.

    Raises:
        ArchError: If the genes are not of the space.
    """
    cost = estimate_cost(space, genes, num_classes=num_classes, by_group=by_group, tile_px=tile_px)
    columns = {
        **{f"macs_{kind}": macs for kind, macs in cost.macs_by_kind.items()},
        **{f"activations_{kind}": count for kind, count in cost.activations_by_kind.items()},
        **{f"elementwise_{name}": count for name, count in cost.elementwise.items()},
        "num_params": cost.num_params,
        "num_blocks": cost.num_blocks,
        "num_layers": cost.num_layers,
        "input_pixels": resolution_values_px(space, genes) ** 2,
    }
    return list(columns), np.stack(list(columns.values()), axis=1).astype(np.float64)
