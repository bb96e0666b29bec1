"""Dropout whose draws do not depend on what other threads draw."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ofa_pipeline.compute import BatchPart


class _Draws(threading.local):
    generator: torch.Generator | None = None
    part: BatchPart | None = None
    dropout: float | None = None
    drop_connect: float = 0.0


_draws = _Draws()


@contextmanager
def dropout_generator(
    generator: torch.Generator,
    *,
    part: BatchPart | None = None,
    dropout: float | None = None,
    drop_connect: float = 0.0,
) -> Iterator[None]:
    """Draw dropout from a generator in this thread while the body runs.

    torch's own dropout draws from the one generator of a device that all threads share: with
    several threads the draws would depend on who comes first.

    Args:
        generator: On the device of the features.
        part: Which rows of a batch the features are of: the draws are made for all of it, so that
            a row gets its own whoever computes it. None: all of the batch.
        dropout: Probability in place of the network's own; None leaves that.
        drop_connect: See `drop_connect_rates`.
    """
    before = dict(vars(_draws))
    vars(_draws).update(generator=generator, part=part, dropout=dropout, drop_connect=drop_connect)
    try:
        yield
    finally:
        vars(_draws).clear()
        vars(_draws).update(before)


def dropout(x: Tensor, probability: float, *, training: bool) -> Tensor:
    """Zero a share of the features, scale the rest to keep the mean; nothing in evaluation mode.

    Args:
        x: Any shape; the first axis is that of the images.
        probability: Probability of each feature to be zeroed, in [0, 1), unless
            `dropout_generator` says another one.
        training: Whether to do anything.
    """
    probability = probability if _draws.dropout is None else _draws.dropout
    if not training or probability == 0:
        return x
    return x * _kept(x, probability) / (1 - probability)


def drop_connect(x: Tensor, probability: float, *, training: bool) -> Tensor:
    """Leave out what a residual block adds, in a share of the images; scale the rest likewise.

    Args:
        x: What the block adds to its input, shape (N, C, H, W).
        probability: Of each image, in [0, 1).
        training: Whether to do anything.

    Source:
        Huang et al. 2016 (arXiv:1603.09382), "stochastic depth".
    """
    if not training or probability == 0:
        return x
    return x * _kept(x[:, :1, :1, :1], probability) / (1 - probability)


def drop_connect_rates(depths: Sequence[int]) -> list[float]:
    """Return with what probability each block that runs is left out, by `dropout_generator`.

    The rate grows with the place of the block, up to the full rate in the last one; only the last
    two block groups have it.

    Args:
        depths: Blocks that run in each block group.
    """
    total, first = sum(depths), sum(depths[:-2])
    return [
        _draws.drop_connect * place / total if place > first else 0.0
        for place in range(1, total + 1)
    ]


def _kept(x: Tensor, probability: float) -> Tensor:
    """Return ones, and zeros with a probability, drawn for the whole batch."""
    part, drawn = _draws.part, x
    if part is not None:
        drawn = x.new_empty(part.batch_size, *x.shape[1:])
    keep = torch.empty_like(drawn).bernoulli_(1 - probability, generator=_draws.generator)
    return keep if part is None else keep[part.rows(len(x))]


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` with the draws of `dropout_generator`."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply `dropout`."""
        return dropout(input, self.p, training=self.training)
