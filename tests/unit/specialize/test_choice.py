"""Which subnet serves which budget."""

import pytest

from ofa_pipeline.errors import InfeasibleConstraintError
from ofa_pipeline.specialize.choice import Candidates, Choice, candidates_of, choose
from tests.support.documents import picks
from tests.support.synthetic import small_space

SPACE = small_space()
SMALL, LARGE = SPACE.smallest, SPACE.largest
LATENCY_MS = {SMALL: 1.0, LARGE: 2.0}


def chosen(*candidates):
    return choose(
        candidates,
        meets=lambda arch, budget_ms: LATENCY_MS[arch] <= budget_ms,
        describe=lambda arch: f"{LATENCY_MS[arch]} ms",
    )


def test_pick_that_meets_its_budget_serves_it():
    assert chosen(Candidates(budget_ms=2.0, archs=(LARGE, SMALL))) == (
        Choice(budget_ms=2.0, arch=LARGE, rank=0),
    )


def test_runner_up_serves_where_the_pick_is_too_slow():
    assert chosen(Candidates(budget_ms=1.5, archs=(LARGE, SMALL))) == (
        Choice(budget_ms=1.5, arch=SMALL, rank=1),
    )


def test_two_budgets_may_be_served_by_one_subnet():
    choices = chosen(
        Candidates(budget_ms=1.0, archs=(SMALL,)), Candidates(budget_ms=1.5, archs=(SMALL,))
    )
    assert [choice.arch for choice in choices] == [SMALL, SMALL]


def test_budget_that_no_candidate_meets_is_an_error_with_their_latencies():
    with pytest.raises(InfeasibleConstraintError, match=f"{LARGE.arch_id} 2.0 ms, {SMALL.arch_id}"):
        chosen(Candidates(budget_ms=0.5, archs=(LARGE, SMALL)))


def test_candidates_are_the_pick_and_its_runners_up():
    found = candidates_of(picks((3.0, [LARGE, SMALL])))
    assert found == (Candidates(budget_ms=3.0, archs=(LARGE, SMALL)),)
