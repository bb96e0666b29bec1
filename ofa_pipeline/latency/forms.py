"""What a latency model may look like: a sum of totals, or the larger of work and launching."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_pipeline.arch import BoolArray, FloatArray, IntArray
from ofa_pipeline.latency.fitting import (
    MIN_SUBNETS,
    SMALLEST_OUTLIER,
    Ridge,
    Solve,
    fit_costs,
)

LAUNCH_TOTALS = ("num_layers", "num_blocks")
"""What launching takes time for, besides a fixed part."""
LAUNCH_PENALTY = 0.1
"""On all but the layers: where launching bounds, time is close to a constant a layer."""
_STARTS = (0.2, 0.35, 0.5, 0.65, 0.8)
"""Shares of the subnets that are taken for launch-bound at first."""
_MAX_ALTERNATIONS = 8
_MIN_LAUNCH_BOUND = 3
LARGEST_LOSS = 0.3
"""A relative error counts as this at most when models are compared: outliers choose none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Totals and latencies of measured subnets; column 0 of the totals is 1."""

    rows: Mapping[int, FloatArray]
    """Shape (subnets, totals), by the pixels of a tile: convolutions compute whole tiles."""
    launch_rows: FloatArray
    """Layers, 1 and blocks, shape (subnets, 3)."""
    load: FloatArray
    """Numbers written a layer: the smaller, the sooner launching bounds."""
    latency_ms: FloatArray

    def of(self, chosen: BoolArray | IntArray) -> "Measurements":
        """Return some of the subnets."""
        return Measurements(
            rows={tile_px: rows[chosen] for tile_px, rows in self.rows.items()},
            launch_rows=self.launch_rows[chosen],
            load=self.load[chosen],
            latency_ms=self.latency_ms[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Costs of work, and of launching where that bounds."""

    work: FloatArray
    tile_px: int
    """Pixels that convolutions compute at once."""
    launch: FloatArray | None
    is_outlier: BoolArray
    """Of the subnets that it was fitted to."""

    def estimate(self, data: Measurements) -> FloatArray:
        """Return milliseconds of subnets."""
        work: FloatArray = data.rows[self.tile_px] @ self.work
        if self.launch is None:
            return work
        return np.maximum(work, data.launch_rows @ self.launch)

    def is_launch_bound(self, data: Measurements) -> BoolArray:
        """Tell which subnets take as long as launching their layers takes."""
        if self.launch is None:
            return np.zeros(len(data.launch_rows), dtype=bool)
        work = data.rows[self.tile_px] @ self.work
        bound: BoolArray = data.launch_rows @ self.launch > work
        return bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A form to fit."""

    name: str
    solve: Solve
    """Fits the costs of work."""
    tile_px: int = 1
    """Pixels that convolutions compute at once."""
    launch_bound: bool = False
    """Whether launching bounds some subnets."""
    smallest_outlier: float = SMALLEST_OUTLIER
    """Relative error of a measurement that is set aside, at least."""

    def fit(self, data: Measurements) -> Form:
        """Fit to measured subnets; where launching bounds none, work alone."""
        work = self._fit_work(data)
        if not self.launch_bound:
            return work
        forms = [form for share in _STARTS if (form := self._alternate(data, share)) is not None]
        return min([work, *forms], key=lambda form: loss(form.estimate(data), data.latency_ms))

    def _fit_work(self, data: Measurements) -> Form:
        fit = fit_costs(
            data.rows[self.tile_px],
            data.latency_ms,
            self.solve,
            smallest_outlier=self.smallest_outlier,
        )
        return Form(work=fit.costs, tile_px=self.tile_px, launch=None, is_outlier=fit.is_outlier)

    def _alternate(self, data: Measurements, share: float) -> Form | None:
        """Fit work and launching by turns to the subnets that each of them bounds."""
        bound = data.load <= np.quantile(data.load, share)
        form = None
        for _ in range(_MAX_ALTERNATIONS):
            if bound.sum() < _MIN_LAUNCH_BOUND or (~bound).sum() < MIN_SUBNETS:
                return None
            form = self._fit_parts(data, bound)
            previous, bound = bound, form.is_launch_bound(data)
            if (previous == bound).all():
                break
        return form

    def _fit_parts(self, data: Measurements, bound: BoolArray) -> Form:
        work = self._fit_work(data.of(~bound))
        launched = data.of(bound)
        solve = Ridge(np.array([0, LAUNCH_PENALTY, LAUNCH_PENALTY]))
        launch = fit_costs(
            launched.launch_rows, launched.latency_ms, solve, smallest_outlier=SMALLEST_OUTLIER
        )
        is_outlier = np.zeros(len(bound), dtype=bool)
        is_outlier[~bound], is_outlier[bound] = work.is_outlier, launch.is_outlier
        return replace(work, launch=launch.costs, is_outlier=is_outlier)


def loss(estimated_ms: FloatArray, measured_ms: FloatArray) -> float:
    """Return the mean of relative errors, each counted as `LARGEST_LOSS` at most."""
    return float(np.minimum(np.abs(estimated_ms / measured_ms - 1), LARGEST_LOSS).mean())


def launch_rows(names: Sequence[str], totals: FloatArray) -> FloatArray:
    """Return what launching is proportional to: layers, 1 and blocks."""
    layers, blocks = (totals[:, names.index(name)] for name in LAUNCH_TOTALS)
    return np.column_stack([layers, np.ones(len(totals)), blocks])


def load_a_layer(names: Sequence[str], totals: FloatArray) -> FloatArray:
    """Return the numbers that a layer writes on average."""
    written = [name.startswith("activations_") for name in names]
    load: FloatArray = totals[:, written].sum(axis=1) / totals[:, names.index("num_layers")]
    return load
