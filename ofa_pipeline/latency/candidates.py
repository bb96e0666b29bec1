"""Which form a device's latency has: candidates, compared by cross-validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ofa_pipeline.arch import FloatArray, IntArray
from ofa_pipeline.latency.fitting import GROSS_OUTLIER
from ofa_pipeline.latency.forms import LAUNCH_TOTALS, Candidate, Form, Measurements, loss

NUM_FOLDS = 10
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
"""Ridge penalties to choose from, a subnet; the fixed part has none."""
LAUNCH_BOUND_PENALTIES = (1e-5, 1e-3)
CLEARLY_BETTER = 0.9
"""What sets measurements aside, or knows launching, must have a loss of at most this part of that
of a sum that fits all: with few subnets, both can explain away what is only far from the others."""
TRANSFER_PENALTIES = ((1e-5, 1e-4), (1e-5, 1e-2))
"""On factors of the components of another device, and on what it does not tell."""
_COMPONENTS = {
    "call": ("fixed", "num_layers", "num_blocks"),
    "depthwise": ("macs_depthwise", "activations_depthwise"),
    "elementwise": ("elementwise",),
}
"""Parts of a network that another device may be slower at by different factors; the rest is one
more. Each by how the names of its totals begin."""


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
    data: Measurements, names: Sequence[str], *, sources: Mapping[str, FloatArray] | None = None
) -> Choice:
    """Fit the candidate with the least cross-validated loss, the simpler one of equal ones.

    Args:
        data: The measured subnets.
        names: What the columns of the totals are called, ``fixed`` first.
        sources: Costs that other devices have, in the order of the names, by the device's name.
    """
    plain = [_plain(len(names), penalty) for penalty in PENALTIES]
    compared = _Comparison(data)
    compared.add([_launching(names)])
    compared.add([replace(candidate, smallest_outlier=GROSS_OUTLIER) for candidate in plain])
    aside = [replace(candidate, name="totals without outliers") for candidate in plain]
    bound = [
        replace(_plain(len(names), penalty), name="totals or launching", launch_bound=True)
        for penalty in LAUNCH_BOUND_PENALTIES
    ]
    compared.add([*aside, *bound], factor=CLEARLY_BETTER)
    for device, costs in (sources or {}).items():
        compared.add(
            [
                _transferred(device, names, costs, penalties, launch_bound=launch_bound)
                for penalties, launch_bound in product(TRANSFER_PENALTIES, (False, True))
            ]
        )
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
        """Compare more; the best of them must be better by a factor than the best of before."""
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
    return Candidate(name="totals", atoms=np.eye(num_totals), penalties=penalties)


def _launching(names: Sequence[str]) -> Candidate:
    """Return a sum that knows the layers and blocks alone: a batch of one on a large device."""
    atoms = np.eye(len(names))[:, [names.index(name) for name in ("fixed", *LAUNCH_TOTALS)]]
    return Candidate(name="launching", atoms=atoms, penalties=np.array([1e-2, 0, 1e-2]))


def _transferred(
    device: str,
    names: Sequence[str],
    costs: FloatArray,
    penalties: tuple[float, float],
    *,
    launch_bound: bool,
) -> Candidate:
    """Return the other device's costs times a factor, a factor a component, and what is left."""
    of_component, of_total = penalties
    parts = [costs, *_components(names, costs)]
    ridge = np.repeat([of_component, of_total], [len(parts), len(names)])
    ridge[0] = 0
    ridge[len(parts)] = of_component  # the fixed part
    return Candidate(
        name=f"transfer from {device}",
        atoms=np.column_stack([*parts, np.eye(len(names))]),
        penalties=ridge,
        launch_bound=launch_bound,
    )


def _components(names: Sequence[str], costs: FloatArray) -> list[FloatArray]:
    rest = np.ones(len(names), dtype=bool)
    parts = []
    for beginnings in _COMPONENTS.values():
        of_part = np.array([name.startswith(beginnings) for name in names])
        parts.append(np.where(of_part, costs, 0))
        rest &= ~of_part
    parts.append(np.where(rest, costs, 0))
    return [part for part in parts if part.any()]


def _folds(count: int) -> IntArray:
    return np.arange(count) % min(count, NUM_FOLDS)
