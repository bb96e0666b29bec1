"""A multilayer perceptron with ReLU in plain numpy, and the slopes of its output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.arch import FloatArray, IntArray

Layer = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Activations:
    """What a perceptron computed, kept for its slopes."""

    hidden: tuple[Layer, ...]
    """After ReLU, shape (rows, units) each."""
    output: FloatArray
    """Shape (rows,)."""


class Perceptron:
    """Layers of weights (inputs, outputs) and biases; one output."""

    def __init__(self, weights: Sequence[Layer], biases: Sequence[Layer]) -> None:
        """Take the layers over, in the precision that they have."""
        self.weights = list(weights)
        self._biases = list(biases)
        self._turned = [np.ascontiguousarray(weight.T) for weight in weights]

    def __call__(self, rows: Layer) -> Activations:
        """Run it on inputs of shape (rows, inputs)."""
        hidden = [rows]
        for weight, bias in zip(self.weights[:-1], self._biases[:-1], strict=True):
            values = hidden[-1] @ weight
            values += bias
            hidden.append(np.maximum(values, 0, out=values))
        output = (hidden[-1] @ self.weights[-1])[:, 0] + self._biases[-1]
        return Activations(tuple(hidden[1:]), output.astype(np.float64))

    def slopes(self, ran: Activations, rows: IntArray) -> Layer:
        """Return the derivative of the output by the first layer's sums, shape (rows, units).

        Times the transposed first weights it is the derivative by the inputs.

        Args:
            ran: What it computed.
            rows: Which inputs.
        """
        slopes = (ran.hidden[-1][rows] > 0) * self._turned[-1]
        for turned, hidden in zip(self._turned[-2:0:-1], ran.hidden[-2::-1], strict=True):
            slopes = slopes @ turned
            slopes *= hidden[rows] > 0
        return slopes
