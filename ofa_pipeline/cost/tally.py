"""Adding up layers, for all architectures at once."""

from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import BoolArray, IntArray

Size = int | IntArray
"""One number for all architectures, or one for each."""
Mask = bool | BoolArray
"""Whether a layer runs: in all architectures, or in each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What architectures cost; every array has one entry an architecture."""

    macs_by_kind: dict[str, IntArray]
    """Multiply-accumulates an image, by kind of layer."""
    activations_by_kind: dict[str, IntArray]
    """Numbers that convolutions and fully connected layers write an image, by kind of layer."""
    elementwise: dict[str, IntArray]
    """Numbers an image that pass through an operation without weights of note: ``hard_swish``, and
    ``scale`` of squeeze-excite. Runtimes that do not fuse them read and write each again."""
    num_params: IntArray
    """Trainable parameters of the extracted subnet."""
    num_blocks: IntArray
    """Elastic blocks that run."""
    num_layers: IntArray
    """Convolutions and fully connected layers that run."""

    @property
    def macs(self) -> IntArray:
        """Multiply-accumulates an image."""
        return _total(self.macs_by_kind)


def _total(by_kind: dict[str, IntArray]) -> IntArray:
    total: IntArray = np.sum(list(by_kind.values()), axis=0)
    return total


class Tally:
    """Adds layers up; kinds appear in the order in which they are first named."""

    group: int | None = None
    """The block group whose layers are added; None outside of them."""

    def __init__(self, count: int, *, by_group: bool = False, tile_px: int = 1) -> None:
        """Start at zero for `count` architectures.

        Args:
            count: Architectures.
            by_group: Make a kind of its own of each kind of layer in each block group.
            tile_px: Count the multiply-accumulates of a convolution at as many pixels as whole
                tiles of this many have.
        """
        self._count = count
        self._by_group = by_group
        self._tile_px = tile_px
        self._macs: dict[str, IntArray] = {}
        self._activations: dict[str, IntArray] = {}
        self._elementwise = {name: self._zeros() for name in ("hard_swish", "scale")}
        self._num_params = self._zeros()
        self._num_layers = self._zeros()

    def _zeros(self) -> IntArray:
        return np.zeros(self._count, dtype=np.int64)

    def conv(
        self,
        kind: str,
        channels: tuple[Size, Size],
        *,
        side_px: Size,
        kernel_size: int = 1,
        runs: Mask = True,
    ) -> None:
        """Add a convolution with batch norm.

        Args:
            kind: Kind of layer.
            channels: In and out. For a depthwise convolution the input channels of each group
                are 1.
            side_px: Height and width of the output.
            kernel_size: Height and width of the kernels.
            runs: Where the layer is there.
        """
        weights = channels[0] * channels[1] * kernel_size**2
        computed_px = -(-(side_px**2) // self._tile_px) * self._tile_px
        self._add(kind, macs=weights * computed_px, written=channels[1] * side_px**2, runs=runs)
        self._num_params += np.where(runs, weights + 2 * channels[1], 0)

    def linear(
        self, kind: str, features: tuple[Size, Size], *, has_bias: bool = True, runs: Mask = True
    ) -> None:
        """Add a fully connected layer; `features` in and out."""
        weights = features[0] * features[1]
        self._add(kind, macs=weights, written=features[1], runs=runs)
        bias = features[1] if has_bias else 0
        self._num_params += np.where(runs, weights + bias, 0)

    def elementwise(self, name: str, channels: Size, side_px: Size, *, runs: Mask = True) -> None:
        """Add an operation on every number of a feature map: ``hard_swish`` or ``scale``."""
        self._elementwise[name] += np.where(runs, channels * side_px**2, 0)

    def _add(self, kind: str, *, macs: Size, written: Size, runs: Mask) -> None:
        if self._by_group and self.group is not None:
            kind = f"{kind}_group{self.group}"
        if kind not in self._macs:
            self._macs[kind] = self._zeros()
            self._activations[kind] = self._zeros()
        self._macs[kind] += np.where(runs, macs, 0)
        self._activations[kind] += np.where(runs, written, 0)
        self._num_layers += np.where(runs, 1, 0)

    def cost(self, *, num_blocks: IntArray) -> Cost:
        """Return the totals."""
        return Cost(
            macs_by_kind=self._macs,
            activations_by_kind=self._activations,
            elementwise=self._elementwise,
            num_params=self._num_params,
            num_blocks=num_blocks.astype(np.int64),
            num_layers=self._num_layers,
        )


def output_side(side_px: Size, stride: int) -> Size:
    """Return the side of a feature map after a "same"-padded convolution."""
    return (side_px - 1) // stride + 1
