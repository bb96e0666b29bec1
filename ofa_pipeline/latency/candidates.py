"""Which form a device's latency has: candidates, compared by cross-validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_pipeline.arch import FloatArray, IntArray
from ofa_pipeline.latency.fitting import GROSS_OUTLIER, Ridge
from ofa_pipeline.latency.forms import LAUNCH_TOTALS, Candidate, Form, Measurements, loss
from ofa_pipeline.latency.transfer import NearSource

NUM_FOLDS = 10
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
"""Ridge penalties to choose from, a subnet; the fixed part has none."""
LAUNCH_BOUND_PENALTIES = (1e-5, 1e-3)
TILES_PX = (4, 5, 6, 7, 8)
"""Pixels that a device's convolutions may compute at once, to choose from."""
CLEARLY_BETTER = 0.9
"""What sets measurements aside, knows launching or counts whole tiles must have a loss of at most
this part of that of a sum that fits all: with few subnets, all can explain away what is only far
from the others."""
AS_GOOD = 1.25
"""What knows another device may have a loss of this times that of what does not: with ten subnets
the errors of a free sum, each fitted to nine, are luck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A candidate, fitted to all subnets, and how the candidates compared."""

    candidate: Candidate
    form: Form
    held_out_ms: FloatArray
    """What it estimates of each subnet, fitted to others."""
    losses: dict[str, float]
    """Cross-validated, by the name of the candidate."""


def choose_form(
    data: Measurements, names: Sequence[str], *, sources: Mapping[str, Form] | None = None
) -> Choice:
    """Fit the candidate with the least cross-validated loss, the simpler one of equal ones.

    Args:
        data: The measured subnets.
        names: What the columns of the totals are called, ``fixed`` first.
        sources: Forms of other devices, of the same totals, by the device's name.
    """
    plain = [_plain(len(names), penalty) for penalty in PENALTIES]
    compared = _Comparison(data)
    compared.add([_launching(names)])
    fitting_all = [replace(candidate, smallest_outlier=GROSS_OUTLIER) for candidate in plain]
    compared.add(fitting_all)
    aside = [replace(candidate, name="totals without outliers") for candidate in plain]
    bound = [
        replace(_plain(len(names), penalty), name="totals or launching", launch_bound=True)
        for penalty in LAUNCH_BOUND_PENALTIES
    ]
    tiled = [
        replace(candidate, name=f"totals in tiles of {tile_px}", tile_px=tile_px)
        for tile_px in TILES_PX
        for candidate in fitting_all
    ]
    compared.add([*aside, *bound, *tiled], factor=CLEARLY_BETTER)
    for device, source in (sources or {}).items():
        transferred = Candidate(
            name=f"transfer from {device}",
            solve=NearSource.of(names, source.work),
            tile_px=source.tile_px,
            smallest_outlier=GROSS_OUTLIER,
        )
        compared.add([transferred, replace(transferred, launch_bound=True)], factor=AS_GOOD)
    return compared.choice()


def held_out_estimates(candidate: Candidate, data: Measurements) -> FloatArray:
    """Estimate every subnet by a fit to others, `NUM_FOLDS` times some."""
    folds = _folds(len(data.latency_ms))
    estimated = np.empty(len(folds))
    for fold in range(int(folds.max()) + 1):
        left_out = folds == fold
        estimated[left_out] = candidate.fit(data.of(~left_out)).estimate(data.of(left_out))
    return estimated


class _Comparison:
    def __init__(self, data: Measurements) -> None:
        self._data = data
        self._losses: dict[str, float] = {}
        self._best: tuple[Candidate, FloatArray, float] | None = None

    def add(self, candidates: Sequence[Candidate], *, factor: float = 1.0) -> None:
        """Compare more; the best of them must have a loss below a factor times the best before."""
        limit = np.inf if self._best is None else factor * self._best[2]
        for candidate in candidates:
            estimated = held_out_estimates(candidate, self._data)
            found = loss(estimated, self._data.latency_ms)
            self._losses[candidate.name] = min(found, self._losses.get(candidate.name, np.inf))
            if found < limit:
                self._best, limit = (candidate, estimated, found), found

    def choice(self) -> Choice:
        assert self._best is not None
        candidate, estimated, _ = self._best
        return Choice(
            candidate=candidate,
            form=candidate.fit(self._data),
            held_out_ms=estimated,
            losses=self._losses,
        )


def _plain(num_totals: int, penalty: float) -> Candidate:
    penalties = np.full(num_totals, penalty)
    penalties[0] = 0
    return Candidate(name="totals", solve=Ridge(penalties))


def _launching(names: Sequence[str]) -> Candidate:
    """Return a sum that knows the layers and blocks alone: a batch of one on a large device."""
    columns = np.array([names.index(name) for name in ("fixed", *LAUNCH_TOTALS)])
    return Candidate(name="launching", solve=Ridge(np.array([1e-2, 0, 1e-2]), columns))


def _folds(count: int) -> IntArray:
    return np.arange(count) % min(count, NUM_FOLDS)
