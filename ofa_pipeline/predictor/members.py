"""What ensembles of predictors share: subsamples, scaling, held-out errors, the spread of members.

Each member learns from a part of the samples. The standard deviation is scaled until the members'
out-of-sample errors agree with it.
"""

from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray
from ofa_pipeline.predictor.protocol import Samples

_CHUNK = 8192  # architectures predicted at once, so that memory stays bounded
_MIN_HELD_OUT = 2


@dataclass(frozen=True, slots=True)
class Scaling:
    """Labels as they are, and standardized as members learn them."""

    mean: float
    scale: float
    labels: FloatArray
    targets: FloatArray

    @classmethod
    def of(cls, samples: Samples) -> "Scaling":
        """Standardize the labels of some samples."""
        mean, scale = float(samples.accuracy.mean()), float(samples.accuracy.std()) or 1.0
        return cls(mean, scale, samples.accuracy, (samples.accuracy - mean) / scale)

    def calibrated(self, held_out: "HeldOut") -> FloatArray:
        """Return mean, scale, the error floor and the factor of the members' disagreement."""
        rows = held_out.count > 0
        if rows.sum() < _MIN_HELD_OUT:
            return np.array([self.mean, self.scale, 1.0, 1.0])
        error = (held_out.mean()[rows] - self.targets[rows]) ** 2
        spread = held_out.variance()[rows]
        # Half of the error is granted everywhere, the rest grows with the disagreement.
        floor = 0.5 * float(error.mean())
        factor = floor / max(float(spread.mean()), 1e-12)
        return np.array([self.mean, self.scale, floor, factor])


@dataclass
class HeldOut:
    """Predictions of each sample by the members that did not see it."""

    total: FloatArray
    squares: FloatArray
    count: FloatArray

    @classmethod
    def empty(cls, size: int) -> "HeldOut":
        """Return no predictions of this many samples."""
        return cls(np.zeros(size), np.zeros(size), np.zeros(size))

    def add(self, seen: IntArray, predicted: FloatArray) -> None:
        """Add what a member that has seen some samples predicts of all."""
        out = np.ones(len(self.count), dtype=bool)
        out[seen] = False
        self.total[out] += predicted[out]
        self.squares[out] += predicted[out] ** 2
        self.count[out] += 1

    def mean(self) -> FloatArray:
        """Return the mean prediction of each sample; zero where every member has seen it."""
        average: FloatArray = self.total / np.maximum(self.count, 1)
        return average

    def variance(self) -> FloatArray:
        """Return the variance of the predictions of each sample."""
        squares: FloatArray = self.squares / np.maximum(self.count, 1)
        return np.maximum(squares - self.mean() ** 2, 0.0)


def subsamples(size: int, members: int, seed: int) -> list[IntArray]:
    """Return the samples of each member: four fifths of all, drawn without repeats."""
    rng = np.random.default_rng(seed)
    count = max(2, (4 * size) // 5)
    return [np.sort(rng.choice(size, count, replace=False)) for _ in range(members)]


def chunks(genes: Genes) -> list[Genes]:
    """Cut architectures into parts that are predicted at once."""
    return [genes[start : start + _CHUNK] for start in range(0, len(genes), _CHUNK)]


def mean_and_std(
    by_chunk: list[FloatArray], scaling: FloatArray, num_members: int
) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation as fractions.

    Args:
        by_chunk: Outputs of the members on standardized labels, shape (members, architectures).
        scaling: See `Scaling.calibrated`.
        num_members: How many there are.
    """
    outputs = np.concatenate([np.zeros((num_members, 0)), *by_chunk], axis=1)
    mean, scale, floor, factor = scaling
    variance = floor + factor * outputs.var(axis=0)
    return mean + scale * outputs.mean(axis=0), scale * np.sqrt(variance)
