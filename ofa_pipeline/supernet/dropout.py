"""Dropout whose draws do not depend on what other threads draw."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ofa_pipeline.compute import BatchPart


class _Draws(threading.local):
    generator: torch.Generator | None = None
    part: BatchPart | None = None


_draws = _Draws()


@contextmanager
def dropout_generator(
    generator: torch.Generator, *, part: BatchPart | None = None
) -> Iterator[None]:
    """Draw dropout from a generator in this thread while the body runs.

    torch's own dropout draws from the one generator of a device that all threads share: with
    several threads the draws would depend on who comes first.

    Args:
        generator: On the device of the features.
        part: Which rows of a batch the features are of: the draws are made for all of it, so that
            a row gets its own whoever computes it. None: all of the batch.
    """
    before = _draws.generator, _draws.part
    _draws.generator, _draws.part = generator, part
    try:
        yield
    finally:
        _draws.generator, _draws.part = before


def dropout(x: Tensor, probability: float, *, training: bool) -> Tensor:
    """Zero a share of the features, scale the rest to keep the mean; nothing in evaluation mode.

    Args:
        x: Any shape; the first axis is that of the images.
        probability: Probability of each feature to be zeroed, in [0, 1).
        training: Whether to do anything.
    """
    if not training or probability == 0:
        return x
    part, drawn = _draws.part, x
    if part is not None:
        drawn = x.new_empty(part.batch_size, *x.shape[1:])
    keep = torch.empty_like(drawn).bernoulli_(1 - probability, generator=_draws.generator)
    if part is not None:
        keep = keep[part.rows(len(x))]
    return x * keep / (1 - probability)


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` with the draws of `dropout_generator`."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply `dropout`."""
        return dropout(input, self.p, training=self.training)
