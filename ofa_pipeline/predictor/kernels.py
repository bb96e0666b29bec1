"""Kernels over groups of features: one length scale and one linear weight a group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray
from ofa_pipeline.predictor.features import FeatureGroups


@dataclass(frozen=True, slots=True)
class Normalizer:
    """Centres each group and scales it to unit mean squared norm."""

    names: tuple[str, ...]
    means: tuple[FloatArray, ...]
    scales: tuple[float, ...]

    @classmethod
    def fit(cls, groups: FeatureGroups) -> "Normalizer":
        """Learn centre and scale of every group."""
        means = tuple(array.mean(axis=0) for array in groups.values())
        scales = tuple(
            float(np.sqrt(((array - mean) ** 2).sum(axis=1).mean())) or 1.0
            for array, mean in zip(groups.values(), means, strict=True)
        )
        return cls(tuple(groups), means, scales)

    def __call__(self, groups: FeatureGroups) -> list[FloatArray]:
        """Return the normalised arrays in the order of `names`."""
        return [
            (groups[name] - mean) / scale
            for name, mean, scale in zip(self.names, self.means, self.scales, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class GroupGrams:
    """What the kernel needs of every pair of rows, a group at a time."""

    distances: tuple[FloatArray, ...]
    """Squared Euclidean, each of shape (rows, other rows)."""
    products: tuple[FloatArray, ...]
    """Inner products, of the same shape."""

    @classmethod
    def of(cls, rows: Sequence[FloatArray], others: Sequence[FloatArray]) -> "GroupGrams":
        """Compare every row with every other row."""
        products = [a @ b.T for a, b in zip(rows, others, strict=True)]
        distances = [
            np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * product, 0.0)
            for a, b, product in zip(rows, others, products, strict=True)
        ]
        return cls(tuple(distances), tuple(products))


@dataclass(frozen=True, slots=True)
class GroupKernel:
    """``a * exp(-sum_g l_g d_g^2) + sum_g c_g <x_g, y_g>``; parameters are logarithms.

    The linear part carries the main effects of each dimension, the Gaussian part what they do
    to each other.
    """

    num_groups: int

    @property
    def num_params(self) -> int:
        """Length of the parameter vector: l_g, a, c_g."""
        return 2 * self.num_groups + 1

    def start(self) -> FloatArray:
        """Return parameters to begin the search with: smooth, half linear."""
        groups = self.num_groups
        weights = np.concatenate([np.full(groups, 0.3 / groups), [1.0], np.full(groups, 0.3)])
        logarithms: FloatArray = np.log(weights)
        return logarithms

    def parts(self, params: FloatArray, grams: GroupGrams) -> tuple[FloatArray, FloatArray]:
        """Return the Gaussian and the linear part."""
        scales = np.exp(params)
        exponent = sum(
            scale * distance for scale, distance in zip(scales, grams.distances, strict=False)
        )
        gaussian = scales[self.num_groups] * np.exp(-np.asarray(exponent))
        linear = sum(
            weight * product
            for weight, product in zip(scales[self.num_groups + 1 :], grams.products, strict=True)
        )
        return gaussian, np.asarray(linear)

    def __call__(self, params: FloatArray, grams: GroupGrams) -> FloatArray:
        """Return the kernel matrix, shape (rows, other rows)."""
        gaussian, linear = self.parts(params, grams)
        kernel: FloatArray = gaussian + linear
        return kernel

    def diagonal(self, params: FloatArray, rows: Sequence[FloatArray]) -> FloatArray:
        """Return the kernel of every row with itself, shape (rows,)."""
        scales = np.exp(params)
        weights = scales[self.num_groups + 1 :]
        result = np.full(len(rows[0]), scales[self.num_groups])
        for weight, array in zip(weights, rows, strict=True):
            result += weight * (array**2).sum(axis=1)
        return result

    def gradient(self, params: FloatArray, grams: GroupGrams, outer: FloatArray) -> FloatArray:
        """Return the derivative of ``sum(outer * kernel)`` by each parameter."""
        gaussian, _ = self.parts(params, grams)
        scales = np.exp(params)
        weighted = outer * gaussian
        return np.array(
            [
                *(-s * np.vdot(weighted, d) for s, d in zip(scales, grams.distances, strict=False)),
                weighted.sum(),
                *(
                    s * np.vdot(outer, p)
                    for s, p in zip(scales[self.num_groups + 1 :], grams.products, strict=True)
                ),
            ]
        )
