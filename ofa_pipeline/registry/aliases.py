"""Which version each alias of a registered model names.

An alias ``best-<budget>`` is what deployments load. It moves only when what came is better by more
than the noise of a measured accuracy, so that measuring the same again deploys nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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
    budgets = budgets_of(subnets)
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


def budgets_of(subnets: Sequence[RegisteredSubnet]) -> dict[str, float]:
    """Return the budgets that subnets were picked for, in ms, by alias."""
    every: dict[float, None] = {}
    for item in subnets:
        every |= dict.fromkeys(item.record.budgets_ms)
    budgets: dict[str, float] = {}
    for budget_ms in every:
        budgets.setdefault(budget_alias(budget_ms), budget_ms)
    return budgets


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What the aliases of a registered model named when they were last looked at."""

    versions: tuple[RegisteredSubnet, ...]
    """Those that there were, the newest first."""
    aliases: Mapping[str, int]
    targets: Mapping[str, RegisteredSubnet | None]
    """By the alias of each budget, as `alias_targets` returned them."""
    budgets_ms: Mapping[str, float]
    """By alias."""

    def stays(self, versions: tuple[RegisteredSubnet, ...], aliases: Mapping[str, int]) -> bool:
        """Tell whether no alias has to move, from what has come alone.

        An alias moves to what is clearly better than what it names, and nothing was; so only what
        has come can be. False where that does not tell: other budgets or images, something gone, an
        alias that somebody has moved, or one that may have to move.
        """
        num_came = len(versions) - len(self.versions)
        if num_came < 0 or versions[num_came:] != self.versions or aliases != self.aliases:
            return False
        came = versions[:num_came]
        digests = {item.record.dataset_digest for item in (*came, *self.versions[:1])}
        if len(digests) > 1 or not budgets_of(came).keys() <= self.budgets_ms.keys():
            return False
        return not any(
            figures_on(item, None).p50_ms <= self.budgets_ms[alias]
            and (kept is None or is_clearly_better(item, kept))
            for item in came
            for alias, kept in self.targets.items()
        )


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
