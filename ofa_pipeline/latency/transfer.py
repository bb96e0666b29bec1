"""What the costs of a device tell of those of another, before much is measured there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray
from ofa_pipeline.latency.fitting import relative_rows, solve_not_negative

NOISE = 0.01
"""What a measurement and the form are off by, relative."""
COMPONENT_SPREAD = 0.3
"""How differently devices are fast at the parts of a network, as standard deviations of factors."""
TOTAL_SPREAD = 0.2
"""The same of each total within a part."""
UNKNOWN_SPREAD = 0.02
"""Share of latency that a total may have besides, whatever it has on the source."""
_COMPONENTS = {
    "call": ("fixed", "num_layers", "num_blocks"),
    "depthwise": ("macs_depthwise", "activations_depthwise"),
    "elementwise": ("elementwise",),
}
"""Parts of a network that another device may be slower at by different factors; the rest is one
more. Each by how the names of its totals begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearSource:
    """Solves with costs that are those of another device, times factors that are alike.

    The costs are normal before anything is measured: the source's, times a factor that is free,
    a factor a component, a factor a total, and a little of every total. So ten measurements say
    by how much the device is faster, and not what makes networks slow.
    """

    costs: FloatArray
    """Of the source, shape (totals,)."""
    components: tuple[FloatArray, ...]
    """The same, each with the totals of one component alone."""

    @classmethod
    def of(cls, names: Sequence[str], costs: FloatArray) -> "NearSource":
        """Part the costs of a source, which are in the order of the names."""
        return cls(costs=costs, components=tuple(_components(names, costs)))

    def __call__(self, rows: FloatArray, latency_ms: FloatArray, weights: FloatArray) -> FloatArray:
        """Return costs of all totals; see `Solve`."""
        scaled, scale = relative_rows(rows, latency_ms)
        factor = float(np.median(latency_ms / (rows @ self.costs)))
        known = factor * scale * self.costs
        covariance = np.diag((TOTAL_SPREAD * known) ** 2 + UNKNOWN_SPREAD**2)
        covariance += np.outer(known, known)  # the factor of all of them
        for component in self.components:
            part = COMPONENT_SPREAD * factor * scale * component
            covariance += np.outer(part, part)
        whitening = NOISE * np.linalg.cholesky(np.linalg.inv(covariance)).T
        prior = np.column_stack([whitening, whitening @ known])
        root = np.sqrt(weights)
        costs: FloatArray = solve_not_negative(root[:, None] * scaled, root, prior) / scale
        return costs


def _components(names: Sequence[str], costs: FloatArray) -> list[FloatArray]:
    rest = np.ones(len(names), dtype=bool)
    parts = []
    for beginnings in _COMPONENTS.values():
        of_part = np.array([name.startswith(beginnings) for name in names])
        parts.append(np.where(of_part, costs, 0))
        rest &= ~of_part
    parts.append(np.where(rest, costs, 0))
    return [part for part in parts if part.any()]
