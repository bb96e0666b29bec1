"""Which version each alias of a registered model names.

An alias ``best-<budget>`` is what deployments load. It moves only when what came is better by more
than the noise of a measured accuracy, so that measuring the same again deploys nothing.
"""

from collections.abc import Callable, Mapping, Sequence

from ofa_pipeline.documents import budget_alias
from ofa_pipeline.registry.choosing import of_digest
from ofa_pipeline.registry.comparison import ComparableSubnets, figures_on, is_clearly_better
from ofa_pipeline.registry.questions import Question
from ofa_pipeline.registry.record import RegisteredSubnet


def alias_targets(
    subnets: Sequence[RegisteredSubnet], current: Mapping[str, int]
) -> dict[str, RegisteredSubnet | None]:
    """Return what the alias of each budget should name.

    It stays where it is while that version exists, was measured on the newest images, is within the
    budget, and nothing within the budget is more accurate by more than the noise. Otherwise it
    names what `SubnetRegistry.best` answers for the budget.

    Args:
        subnets: Every version of one registered model, the newest first.
        current: Versions that aliases name now, by alias.

    Returns:
        By alias; None where no subnet is within the budget, and so nothing should bear it.
    """
    if not subnets:
        return {}
    budgets: dict[str, float] = {}
    for item in subnets:
        for budget_ms in item.record.budgets_ms:
            budgets.setdefault(budget_alias(budget_ms), budget_ms)
    newest = of_digest(subnets, subnets[0].record.dataset_digest)
    by_version = {item.version: item for item in newest}
    comparable = ComparableSubnets(newest, device=subnets[0].record.device)
    targets: dict[str, RegisteredSubnet | None] = {}
    for alias, budget_ms in budgets.items():
        best = comparable.best(Question(max_latency_ms=budget_ms))
        kept = by_version.get(current.get(alias, -1))
        if kept is not None and best is not None and _stays(kept, best, budget_ms):
            best = kept
        targets[alias] = best
    return targets


def _stays(kept: RegisteredSubnet, best: RegisteredSubnet, budget_ms: float) -> bool:
    is_within = figures_on(kept, None).p50_ms <= budget_ms
    return is_within and not is_clearly_better(best, kept)


def fresh_targets(
    subnets: Sequence[RegisteredSubnet],
    current: Mapping[str, int],
    *,
    is_stale: Callable[[RegisteredSubnet], bool],
) -> dict[str, RegisteredSubnet | None]:
    """Return what the alias of each budget should name, but nothing that is stale.

    Only what an alias would name is asked for: to ask for all takes the longer the more there are.
    Where every version is stale they count: an alias had rather name an old certificate than none.

    Args:
        subnets: Every version of one registered model, the newest first.
        current: Versions that aliases name now, by alias.
        is_stale: Whether the device of a version has changed since it was certified.
    """
    left = list(subnets)
    known: dict[int, bool] = {}
    while True:
        targets = alias_targets(left, current)
        named = [item for item in targets.values() if item is not None]
        for item in named:
            if item.version not in known:
                known[item.version] = is_stale(item)
        stale = {item.version for item in named if known[item.version]}
        if not stale:
            return targets
        left = [item for item in left if item.version not in stale]
        if not left:
            return alias_targets(subnets, current)
