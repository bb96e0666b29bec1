"""A small space with known accuracy and latency, so that a search can be checked."""

import itertools
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.predictor.perceptron import Activations, Perceptron
from ofa_pipeline.spaces import mobilenet_v3_small_images

RESOLUTIONS_PX = (16, 20, 24, 28)


def small_space(
    *,
    resolutions_px: tuple[int, ...] = RESOLUTIONS_PX,
    num_groups: int = 3,
    depths: tuple[int, ...] = (1, 2, 3),
) -> SearchSpace:
    """Return a space of the demo's kind."""
    return mobilenet_v3_small_images(
        stem_stride=2,
        stem_channels=16,
        group_channels=[24, 40, 64][:num_groups],
        group_strides=[1, 2, 2][:num_groups],
        head_channels=(192, 256),
        resolutions_px=resolutions_px,
        depths=depths,
        kernel_sizes=(3, 5, 7),
        expand_ratios=(2.0, 3.0, 4.0),
    )


def tiny_space() -> SearchSpace:
    """Return a space that can be enumerated."""
    return small_space(num_groups=2, depths=(1, 2), resolutions_px=(16, 28))


def every_architecture(space: SearchSpace) -> Genes:
    """Return all architectures of a small space, each once."""
    choices = [range(count) for count in space.num_choices]
    genes = np.array(list(itertools.product(*choices)), dtype=np.int8)
    return np.unique(space.canonicalize(genes), axis=0)


def true_accuracy(space: SearchSpace, genes: Genes) -> FloatArray:
    """Return a smooth accuracy with diminishing returns, as real subnets have it."""
    values = space.values(genes)
    weights = np.linspace(1.0, 2.0, space.num_blocks)
    kernels = ((values["kernel_size"] / 7) * weights).sum(axis=1)
    expands = (np.sqrt(values["expand_ratio"] / 4) * weights).sum(axis=1)
    size = values["resolution"][:, 0] / space.resolutions_px[-1]
    capacity = (0.3 * kernels + expands) / weights.sum()
    accuracy: FloatArray = 0.70 + 0.2 * (1 - np.exp(-2 * capacity * size**0.5))
    return accuracy


def true_latency_ms(space: SearchSpace, genes: Genes) -> FloatArray:
    """Return a latency that is a sum over blocks at each resolution."""
    values = space.values(genes)
    area = (values["resolution"][:, 0] / space.resolutions_px[-1]) ** 2
    weights = np.linspace(1.5, 0.5, space.num_blocks)
    work = values["expand_ratio"] * (1 + 0.1 * values["kernel_size"]) * weights
    latency: FloatArray = 0.2 + 0.05 * area * work.sum(axis=1)
    return latency


def labeled_sample(space: SearchSpace, count: int, *, seed: int) -> tuple[Genes, FloatArray]:
    """Return random subnets with noisy measured accuracy."""
    rng = np.random.default_rng(seed)
    genes = space.sample(rng, count)
    noisy = true_accuracy(space, genes) + rng.normal(0, 0.0005, count)
    return genes, np.clip(noisy, 0, 1)


class RuggedAccuracy:
    """A random perceptron over one-hot genes: many local optima, and slopes."""

    def __init__(self, space: SearchSpace, *, seed: int = 0, units: int = 24) -> None:
        """Draw the weights."""
        rng = np.random.default_rng(seed)
        num_choices = int(space.num_choices.sum())
        self.space = space
        self._perceptron = Perceptron(
            [rng.normal(0, 0.6, (num_choices, units)), rng.normal(0, 0.02, (units, 1))],
            [rng.normal(0, 0.3, units), np.array([0.8])],
        )

    def predict(self, genes: Genes) -> tuple[FloatArray, FloatArray]:
        """Return accuracy and no doubt."""
        return self.trace(genes).mean, np.zeros(len(genes))

    def trace(self, genes: Genes) -> "RuggedTrace":
        """Return the accuracy with its slopes."""
        return RuggedTrace(self._perceptron, self._perceptron(self.space.one_hot(genes)))


@dataclass(frozen=True)
class RuggedTrace:
    """See `ofa_pipeline.predictor.Trace`."""

    perceptron: Perceptron
    ran: Activations

    @property
    def mean(self) -> FloatArray:
        """Accuracy, shape (architectures,)."""
        return self.ran.output

    def slopes(self, rows: IntArray) -> FloatArray:
        """Return the derivative by each choice, shape (rows, sum of choices)."""
        slopes: FloatArray = self.perceptron.slopes(self.ran, rows) @ self.perceptron.weights[0].T
        return slopes


def neighbors_of(space: SearchSpace, genes: Genes) -> Genes:
    """Return every architecture one gene away from one of the rows, without repeats."""
    batches = []
    for gene in range(space.num_genes):
        for choice in range(int(space.num_choices[gene])):
            batch = genes[genes[:, gene] != choice].copy()
            batch[:, gene] = choice
            batches.append(batch)
    changed = np.unique(space.canonicalize(np.concatenate(batches)), axis=0)
    known = {row.tobytes() for row in np.ascontiguousarray(genes)}
    return changed[[row.tobytes() not in known for row in changed]]
