"""Dropout whose draws do not depend on what other threads draw."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class _Draws(threading.local):
    generator: torch.Generator | None = None


_draws = _Draws()


@contextmanager
def dropout_generator(generator: torch.Generator) -> Iterator[None]:
    """Draw dropout from a generator in this thread while the body runs.

    torch's own dropout draws from the one generator of a device that all threads share: with
    several threads the draws would depend on who comes first.

    Args:
        generator: On the device of the features.
    """
    before, _draws.generator = _draws.generator, generator
    try:
        yield
    finally:
        _draws.generator = before


def dropout(x: Tensor, probability: float, *, training: bool) -> Tensor:
    """Zero a share of the features, scale the rest to keep the mean; nothing in evaluation mode.

    Args:
        x: Any shape.
        probability: Probability of each feature to be zeroed, in [0, 1).
        training: Whether to do anything.
    """
    if not training or probability == 0:
        return x
    keep = torch.empty_like(x).bernoulli_(1 - probability, generator=_draws.generator)
    return x * keep / (1 - probability)


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` with the draws of `dropout_generator`."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply `dropout`."""
        return dropout(input, self.p, training=self.training)
