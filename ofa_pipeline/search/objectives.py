"""What a search is about: one gain, some costs, and the budgets of the costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace
from ofa_pipeline.errors import InfeasibleConstraintError, ParamsError
from ofa_pipeline.predictor import Trace
from ofa_pipeline.search.neighborhood import one_gene_changes

Score = Callable[[Genes], FloatArray]
"""Genes (architectures, genes) to one number each, shape (architectures,)."""

TraceGain = Callable[[Genes], Trace]
"""Genes to the gain of each, with the slopes on request."""

_SAMPLED = 2048  # random architectures that the descent to the smallest cost starts from
_STARTS = 4


@dataclass(frozen=True, slots=True)
class Objective:
    """A quantity of an architecture."""

    name: str
    """As in tables, with its unit at the end: ``accuracy_top1``, ``latency_ms``, ``macs``."""
    score: Score


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProblem:
    """Maximise the gain at small costs, within each of several budgets."""

    space: SearchSpace
    gain: Objective
    """To be maximised; evaluated only for architectures within the widest budget."""
    costs: tuple[Objective, ...]
    """To be minimised; cheap to evaluate."""
    budgets: FloatArray
    """Upper limits, shape (budgets, costs); infinity where a cost has none."""

    def evaluate_gain(self, genes: Genes) -> FloatArray:
        """Return the gain of each architecture.

        Raises:
            ParamsError: If a value is not finite.
        """
        return _finite(self.gain, genes)

    def evaluate_costs(self, genes: Genes) -> FloatArray:
        """Return the costs, shape (architectures, costs).

        Raises:
            ParamsError: If a value is not finite.
        """
        return np.stack([_finite(cost, genes) for cost in self.costs], axis=1)


@dataclass(frozen=True, slots=True)
class Cheapest:
    """The architecture with the smallest cost that was found."""

    genes: Genes
    """Shape (1, genes)."""
    cost: float


def check_budgets(budgets: Sequence[float], *, name: str) -> tuple[float, ...]:
    """Return budgets in ascending order without repeats.

    Args:
        budgets: In any order.
        name: Name of the quantity, for the error message.

    Raises:
        ParamsError: If no budget is given, or one is not a positive number.
    """
    wrong = [value for value in budgets if not value > 0]
    if wrong or not len(budgets):
        found = ", ".join(f"{value:g}" for value in wrong) or "none"
        raise ParamsError(f"budgets of {name} must be positive numbers, got {found}")
    return tuple(sorted({float(value) for value in budgets}))


def find_cheapest(space: SearchSpace, cost: Objective, *, rng: np.random.Generator) -> Cheapest:
    """Find the smallest cost by steepest descent over single genes from good random starts.

    Exact where the cost is a sum over genes, as MACs and look-up tables at one resolution are.
    """
    smallest = space.genes([space.smallest])
    sample = np.concatenate([smallest, space.sample(rng, _SAMPLED)])
    values = _finite(cost, sample)
    starts = np.concatenate([smallest, sample[np.argsort(values, kind="stable")[:_STARTS]]])
    best = Cheapest(smallest, float(values[0]))
    for start in starts:
        found = _descend(space, cost, start[None])
        best = min(best, found, key=lambda one: one.cost)
    return best


def require_feasible(problem: SearchProblem, *, rng: np.random.Generator) -> list[Cheapest]:
    """Return the cheapest architecture by each cost, if every budget admits it.

    Raises:
        InfeasibleConstraintError: Naming the cheapest architecture found and its cost.
    """
    cheapest = [find_cheapest(problem.space, cost, rng=rng) for cost in problem.costs]
    for index, (cost, found) in enumerate(zip(problem.costs, cheapest, strict=True)):
        limit = float(problem.budgets[:, index].min())
        if found.cost > limit:
            arch = problem.space.archs(found.genes)[0]
            word = "fastest" if cost.name.endswith("_ms") else "smallest"
            raise InfeasibleConstraintError(
                f"no architecture of {problem.space.space_id} meets {cost.name} <= {limit:g}: the "
                f"{word} subnet found has {found.cost:.4g} (arch {arch.arch_id}, {arch}). "
                "Raise the budget or add smaller choices to the space."
            )
    return cheapest


def _descend(space: SearchSpace, cost: Objective, genes: Genes) -> Cheapest:
    best = Cheapest(genes, float(_finite(cost, genes)[0]))
    while True:
        neighbors = one_gene_changes(space, best.genes)
        values = _finite(cost, neighbors)
        lowest = int(values.argmin())
        if values[lowest] >= best.cost:
            return best
        best = Cheapest(neighbors[lowest][None], float(values[lowest]))


def _finite(objective: Objective, genes: Genes) -> FloatArray:
    values = np.asarray(objective.score(genes), dtype=np.float64)
    if values.shape != (len(genes),) or not np.isfinite(values).all():
        raise ParamsError(
            f"the model of {objective.name} must give one finite number an architecture; for "
            f"{len(genes)} it gave shape {values.shape} with {int((~np.isfinite(values)).sum())} "
            "values that are not finite. Check the table or predictor that it was made from."
        )
    return values
