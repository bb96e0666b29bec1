"""Which subnet serves which budget: the pick, or its runner-up when the pick is too slow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ofa_pipeline.arch import Arch
from ofa_pipeline.documents import Picks
from ofa_pipeline.errors import InfeasibleConstraintError


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The subnets that may serve a budget, best first."""

    budget_ms: float
    archs: tuple[Arch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The subnet that serves a budget."""

    budget_ms: float
    arch: Arch
    rank: int
    """0 for the pick of the search, 1 for its first runner-up."""


def candidates_of(picks: Picks) -> tuple[Candidates, ...]:
    """Return, for each budget, the pick of the search and its runners-up."""
    return tuple(
        Candidates(
            budget_ms=pick.budget_ms, archs=tuple(item.arch for item in (pick, *pick.runners_up))
        )
        for pick in picks.picks
    )


def choose(
    candidates: Sequence[Candidates],
    *,
    meets: Callable[[Arch, float], bool],
    describe: Callable[[Arch], str],
) -> tuple[Choice, ...]:
    """Give each budget the first of its candidates that meets it by measurement.

    Args:
        candidates: Candidates for each budget.
        meets: Measures an architecture against a budget in milliseconds.
        describe: Latency of an architecture that was measured, for messages.

    Raises:
        InfeasibleConstraintError: If none of a budget's candidates meets it.
    """
    choices = []
    for of_budget in candidates:
        for rank, arch in enumerate(of_budget.archs):
            if meets(arch, of_budget.budget_ms):
                choices.append(Choice(budget_ms=of_budget.budget_ms, arch=arch, rank=rank))
                break
        else:
            measured = ", ".join(f"{arch.arch_id} {describe(arch)}" for arch in of_budget.archs)
            raise InfeasibleConstraintError(
                f"no candidate of the search has latency_ms <= {of_budget.budget_ms:g} as it "
                f"ships: measured {measured}. Run the stage search again on a quiet machine, "
                "raise the budget, or raise search.latency_margin."
            )
    return tuple(choices)
