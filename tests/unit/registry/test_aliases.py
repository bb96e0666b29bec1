"""An alias moves when what came is better by more than the noise, and not before."""

import pytest

from ofa_pipeline.registry import RegisteredSubnet
from ofa_pipeline.registry.aliases import Named, alias_targets, budgets_of, fresh_targets
from tests.support.registry import DATASET, subnet_record

ALIAS = "best-1ms"


def subnet(version, accuracy, **changes):
    changes = {"latency_ms": 0.9, "budgets_ms": (1.0,)} | changes
    return RegisteredSubnet(record=subnet_record(accuracy=accuracy, **changes), version=version)


@pytest.mark.parametrize(
    ("came", "named"),
    [
        (subnet(2, 0.92), 1),  # 100 test images: one standard error is 3 points
        (subnet(2, 0.90, latency_ms=0.1), 1),
        (subnet(2, 0.94), 2),
        (subnet(2, 0.94, latency_ms=1.1), 1),  # not within the budget
        (subnet(2, 0.50, lineage={DATASET: "0e" * 32}), 2),  # other images: the newest count
    ],
)
def test_alias_stays_within_the_noise(came, named):
    targets = alias_targets([came, subnet(1, 0.9)], {ALIAS: 1})
    assert targets[ALIAS].version == named


@pytest.mark.parametrize("current", [{}, {ALIAS: 7}, {"mine": 1}])
def test_alias_without_a_version_names_the_best(current):
    targets = alias_targets([subnet(2, 0.92), subnet(1, 0.9)], current)
    assert {alias: item.version for alias, item in targets.items()} == {ALIAS: 2}


def test_alias_of_what_is_slower_than_its_budget_moves():
    slow = subnet(1, 0.95, latency_ms=1.2)
    assert alias_targets([subnet(2, 0.7), slow], {ALIAS: 1})[ALIAS].version == 2
    assert alias_targets([slow], {ALIAS: 1}) == {ALIAS: None}
    assert alias_targets([], {ALIAS: 1}) == {}


def test_alias_leaves_a_version_whose_device_has_changed():
    versions = [subnet(3, 0.7), subnet(2, 0.95), subnet(1, 0.9)]
    asked = []

    def is_stale(item):
        asked.append(item.version)
        return item.version in (1, 2)

    assert fresh_targets(versions, {ALIAS: 1}, is_stale=is_stale)[ALIAS].version == 3
    assert sorted(asked) == [1, 2, 3]
    for every, named in [(True, 2), (False, 2)]:
        found = fresh_targets(versions, {}, is_stale=lambda _, every=every: every)
        assert found[ALIAS].version == named


@pytest.mark.parametrize(
    ("came", "stays"),
    [
        ([], True),
        ([subnet(3, 0.92)], True),
        ([subnet(3, 0.99, latency_ms=1.1)], True),  # not within the budget
        ([subnet(3, 0.94)], False),
        ([subnet(4, 0.5), subnet(3, 0.94)], False),
        ([subnet(3, 0.5, budgets_ms=(2.0,))], False),  # an alias that is new
        ([subnet(3, 0.5, lineage={DATASET: "0e" * 32})], False),
    ],
)
def test_what_came_alone_tells_whether_an_alias_stays(came, stays):
    versions = (subnet(2, 0.91), subnet(1, 0.9))
    named = Named(
        versions=versions,
        aliases={ALIAS: 1, "mine": 2},
        targets=alias_targets(versions, {ALIAS: 1}),
        budgets_ms=budgets_of(versions),
    )
    now = (*came, *versions)
    assert named.stays(now, {ALIAS: 1, "mine": 2}) is stays
    moves = alias_targets(now, {ALIAS: 1}) != named.targets
    assert stays is not moves
    assert not named.stays(now, {ALIAS: 2, "mine": 2})  # somebody moved it
    assert not named.stays((*came, *versions[:1]), {ALIAS: 1, "mine": 2})  # one is gone
    assert not named.stays((subnet(7, 0.9), *came, *versions[1:]), {ALIAS: 1, "mine": 2})
