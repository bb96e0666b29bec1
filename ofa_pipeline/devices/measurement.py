"""The statistics behind a latency measurement."""

from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray

CONFIDENCE = 0.95
NUM_RESAMPLES = 200
QUIET = 1.08
"""A machine is quiet while the reference network takes at most this multiple of its latency."""
MIN_QUIET_VISITS = 8
"""A machine with fewer of them during a measurement is contended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Latency of a network over that of the reference network, with a confidence interval."""

    value: float
    low: float
    high: float
    num_quiet: int
    """Visits to the reference network that found the machine quiet."""

    @property
    def is_contended(self) -> bool:
        """True if the machine was hardly ever quiet."""
        return self.num_quiet < MIN_QUIET_VISITS

    @property
    def half_width(self) -> float:
        """Half of the interval, relative to the value."""
        return (self.high - self.low) / 2 / self.value


def estimate_ratio(
    network_ms: FloatArray, before_ms: FloatArray, after_ms: FloatArray, *, quiet_ms: float
) -> Ratio:
    """Estimate the ratio of latencies on the quiet machine from alternating visits.

    The share of visits that find the machine quiet is read off the reference network. The same
    share of the visits to the network, its fastest ones, found it quiet too, and the ratio of the
    medians of both is the result. Visits are not selected pair by pair: the fastest visits to
    the reference are partly luck, and their neighbors had no such luck. Where the machine was
    hardly ever quiet, the median of the ratios of neighboring visits is the next best.

    Args:
        network_ms: Latency in each visit to the network, shape (visits,).
        before_ms: Latency in the visit to the reference network before it, shape (visits,).
        after_ms: Latency in the visit to the reference network after it, shape (visits,).
        quiet_ms: Latency of the reference network on the quiet machine.
    """
    from scipy.stats import quantile

    is_quiet = before_ms <= QUIET * quiet_ms
    num_quiet = int(is_quiet.sum())
    # A fixed seed, so that the same visits give the same interval.
    drawn = np.random.default_rng(0).integers(0, len(network_ms), (NUM_RESAMPLES, len(network_ms)))
    rows = np.concatenate([np.arange(len(network_ms))[None], drawn])
    if num_quiet < MIN_QUIET_VISITS:
        ratios = 2 * network_ms / (before_ms + after_ms)
        estimates = np.median(ratios[rows], axis=1)
    else:
        middle = is_quiet[rows].mean(axis=1, keepdims=True) / 2
        network, before = (quantile(ms[rows], middle, axis=1) for ms in (network_ms, before_ms))
        estimates = network / before
    tail = (1 - CONFIDENCE) / 2
    value = float(estimates[0])
    low, high = (float(v) for v in np.quantile(estimates[1:], (tail, 1 - tail)))
    return Ratio(value=value, low=min(low, value), high=max(high, value), num_quiet=num_quiet)
