"""Predict, verify, refit: predictors propose subnets, measurements decide.

In each round a sampler proposes subnets for every budget: unless told otherwise half of them those
predicted best, half those that might be best as far as the predictor knows. They are evaluated and
measured for real, predictor and latency estimate learn from it, until the picks stay the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ofa_pipeline.arch import Arch, FloatArray, Genes, SearchSpace
from ofa_pipeline.errors import InfeasibleConstraintError
from ofa_pipeline.predictor import AccuracyPredictor
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.search.acquisition import Role
from ofa_pipeline.search.evolution import EvolutionSettings
from ofa_pipeline.search.front import BudgetFinding, Estimates, SearchResult, search_front
from ofa_pipeline.search.objectives import Objective, Score, find_cheapest
from ofa_pipeline.search.samplers.ours import EstimatesSampler
from ofa_pipeline.search.sampling import Known, Proposal, Request, Sampler

_TIE_REACH = 1.96 * np.sqrt(2)  # of a difference of two labels, in standard deviations of one
_TIGHTENING = 0.96  # of the estimated limit of a budget where nothing proposed met it
_HOPELESS = 0.85  # of the fastest estimate: a limit below it is not worth measuring for
_RESCUE_ROUNDS = 4  # further rounds for budgets that nothing meets yet
_NUM_RUNNERS_UP = 3


class Measured(Protocol):
    """A latency measurement, as `ofa_pipeline.devices` makes them."""

    @property
    def p50_ms(self) -> float:
        """Median."""

    @property
    def ci_high_ms(self) -> float:
        """Upper end of the confidence interval of the median."""


class RealWorld(Protocol):
    """Evaluates and measures subnets for real; see `ofa_pipeline.search.world`."""

    def evaluate(self, archs: Sequence[Arch], *, label: str) -> Sequence[float]:
        """Return top-1 on selection images of each subnet, a fraction.

        Args:
            archs: Each once.
            label: Names the progress.
        """
        ...

    def measure(self, archs: Sequence[Arch], *, label: str) -> Sequence[Measured]:
        """Return the latency of each subnet; the arguments are those of `evaluate`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What is known before anything is verified."""

    predictor: AccuracyPredictor
    """Refitted in place as measurements come in."""
    genes: Genes
    """Subnets with measured accuracy, shape (subnets, genes)."""
    accuracy: FloatArray
    latency: Score
    """Estimated milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings:
    """How much to verify, and what counts as a difference."""

    top_k: int
    """Subnets a budget and round."""
    max_rounds: int
    latency_margin: float
    """Share of the budget that is kept free."""
    estimate_margin: float | None = None
    """The same for estimates, where it is another one."""
    accuracy_noise: float
    """Standard deviation of a measured accuracy between calibration draws, a fraction."""
    sampler: Sampler = field(default_factory=EstimatesSampler)
    """Proposes the subnets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedSubnet:
    """A subnet that was evaluated and measured, beside what was estimated before."""

    arch: Arch
    accuracy_top1: float
    latency: Measured
    accuracy_top1_estimated: float
    accuracy_std_estimated: float
    latency_ms_estimated: float
    round: int
    role: Role

    def meets(self, budget_ms: float, *, margin: float) -> bool:
        """Tell whether the median leaves the margin free and its interval is within the budget."""
        return (
            self.latency.p50_ms <= (1 - margin) * budget_ms and self.latency.ci_high_ms <= budget_ms
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """The best verified subnet of a budget."""

    budget_ms: float
    subnet: VerifiedSubnet
    runners_up: tuple[VerifiedSubnet, ...]
    num_tied: int
    """How many of the runners-up differ from the pick by less than the noise of labels."""
    price: float
    """Accuracy (fraction) that one more millisecond would buy, estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedSearch:
    """What predict, verify, refit ends with."""

    picks: tuple[Pick, ...]
    verified: tuple[VerifiedSubnet, ...]
    """In the order of verification."""
    last_search: SearchResult
    num_rounds: int
    is_stable: bool
    """Whether the last round made no pick better by more than the noise of a label."""
    latency_correction: float
    """Measured over estimated latency, median."""


def predict_verify_refit(
    knowledge: Knowledge,
    world: RealWorld,
    *,
    budgets_ms: Sequence[float],
    settings: VerifySettings,
    search: EvolutionSettings,
    reporter: Reporter = SILENT,
) -> VerifiedSearch:
    """Find the best subnet of each budget by measurement.

    Args:
        knowledge: Predictor, latency model and the subnets measured so far.
        world: Evaluates and measures; asked once for each subnet.
        budgets_ms: Ascending.
        settings: How much to verify.
        search: How long and how broadly each search goes.
        reporter: Told of each search.

    Raises:
        InfeasibleConstraintError: If a budget is below the fastest subnet, by estimate before
            anything is measured, or by measurement after several attempts.
    """
    loop = _Loop(knowledge, world, budgets_ms, settings)
    loop.require_feasible(np.random.default_rng(search.seed))
    result: SearchResult | None = None
    previous: list[float | None] | None = None
    while loop.wants_another_round(previous):
        previous = loop.pick_accuracies() if loop.round else None
        loop.round += 1
        result = loop.search(search, reporter)
        loop.verify(loop.propose(result, seed=search.seed))
        loop.refit()
    assert result is not None  # the first round is always wanted
    return VerifiedSearch(
        picks=loop.picks(result),
        verified=tuple(loop.verified.values()),
        last_search=result,
        num_rounds=loop.round,
        is_stable=loop.is_stable(previous),
        latency_correction=loop.correction,
    )


@dataclass
class _Loop:
    """The state between rounds."""

    knowledge: Knowledge
    world: RealWorld
    budgets_ms: Sequence[float]
    settings: VerifySettings
    round: int = 0
    verified: dict[str, VerifiedSubnet] = field(default_factory=dict)
    correction: float = 1.0
    tightening: list[float] = field(init=False)
    searched_ms: list[float] = field(default_factory=list)
    """Limits of the last search, one a budget."""
    fastest: Arch = field(init=False)
    """By the latency model."""
    fastest_ms: float = 0.0
    """By the latency model, before the correction."""

    def __post_init__(self) -> None:
        self.tightening = [1.0] * len(self.budgets_ms)

    def require_feasible(self, rng: np.random.Generator) -> None:
        """Refuse a budget that is out of reach of the fastest subnet, before any measurement."""
        found = find_cheapest(self.space, Objective("latency_ms", self.knowledge.latency), rng=rng)
        self.fastest_ms = found.cost
        self.fastest = self.space.archs(found.genes)[0]
        smallest = min(self.budgets_ms)
        if _HOPELESS * found.cost > (1 - self.settings.latency_margin) * smallest:
            raise InfeasibleConstraintError(
                f"no subnet of {self.space.space_id} can meet a budget of {smallest:g} ms with a "
                f"margin of {self.settings.latency_margin:.0%}: the fastest subnet found takes "
                f"{found.cost:.4g} ms by estimate (arch {self.fastest.arch_id}, "
                f"{self.fastest}). Raise the budget or add smaller choices to the space."
            )

    @property
    def space(self) -> SearchSpace:
        return self.knowledge.predictor.space

    def wants_another_round(self, previous: list[float | None] | None) -> bool:
        """Go on until the picks are stable; a budget without a pick gets further attempts."""
        if self.round == 0:
            return True
        if None in self.pick_ids():
            return self.round < self.settings.max_rounds + _RESCUE_ROUNDS
        return self.round < self.settings.max_rounds and not self.is_stable(previous)

    def is_stable(self, previous: list[float | None] | None) -> bool:
        """Tell whether no pick has become better by more than the noise of a label."""
        if previous is None:
            return False
        return all(
            before is not None
            and after is not None
            and after - before <= self.settings.accuracy_noise
            for before, after in zip(previous, self.pick_accuracies(), strict=True)
        )

    def pick_accuracies(self) -> list[float | None]:
        """Return the accuracy of each pick, None where nothing meets the budget yet."""
        ranked = [self.ranked(budget) for budget in self.budgets_ms]
        return [subnets[0].accuracy_top1 if subnets else None for subnets in ranked]

    def limits_ms(self) -> list[float]:
        """Return what the estimated, corrected latency may be for each budget."""
        # The fastest subnet may always be proposed: estimates err, measurements decide.
        fastest = self.correction * self.fastest_ms * (1 + 1e-9)
        margin = self.settings.estimate_margin
        if margin is None:
            margin = self.settings.latency_margin
        return [
            max((1 - margin) * budget * tightening, fastest)
            for budget, tightening in zip(self.budgets_ms, self.tightening, strict=True)
        ]

    def estimates(self) -> Estimates:
        """Return what is believed after what was verified so far."""
        return Estimates(self.space, self.knowledge.predictor.predict, self.estimate_latency)

    def estimate_latency(self, genes: Genes) -> FloatArray:
        return self.correction * self.knowledge.latency(genes)

    def search(self, settings: EvolutionSettings, reporter: Reporter) -> SearchResult:
        reporter.message(f"search round {self.round}")
        self.searched_ms = self.limits_ms()
        return search_front(
            self.estimates(),
            budgets_ms=self.searched_ms,
            settings=settings,
            reporter=reporter,
            seeds=self.knowledge.genes,
        )

    def propose(self, result: SearchResult, *, seed: int) -> list[Proposal]:
        """Choose the subnets to verify, each once even when it serves several budgets."""
        proposals: dict[str, Proposal] = {}
        estimates, known = self.estimates(), self.known()
        for index, finding in enumerate(self.findings(result)):
            request = Request(
                limit_ms=finding.budget,
                count=self.settings.top_k,
                taken=set(proposals) | set(self.verified),
                estimates=estimates,
                candidates=finding.candidates,
                known=known,
                fastest=self.fastest,
                seed=int(np.random.default_rng([seed, self.round, index]).integers(2**31)),
            )
            for proposal in self.settings.sampler.propose(request):
                proposals[proposal.arch.arch_id] = proposal
        return list(proposals.values())

    def findings(self, result: SearchResult) -> list[BudgetFinding]:
        """Return the finding of each budget; limits that fell together share one."""
        by_limit = {finding.budget: finding for finding in result.findings}
        return [by_limit[limit] for limit in self.searched_ms]

    def known(self) -> Known:
        """Return every subnet whose accuracy was measured; the verified ones come last."""
        knowledge, verified = self.knowledge, list(self.verified.values())
        genes = self.space.genes([subnet.arch for subnet in verified])
        return Known(
            genes=np.concatenate([knowledge.genes, genes]),
            accuracy=np.append(knowledge.accuracy, [s.accuracy_top1 for s in verified]),
            latency_ms=np.append(
                self.estimate_latency(knowledge.genes), [s.latency.p50_ms for s in verified]
            ),
        )

    def verify(self, proposals: list[Proposal]) -> None:
        """Evaluate and measure every proposal."""
        label, archs = f"verify round {self.round}", [proposal.arch for proposal in proposals]
        accuracies = self.world.evaluate(archs, label=label)
        latencies = self.world.measure(archs, label=label)
        for proposal, accuracy, latency in zip(proposals, accuracies, latencies, strict=True):
            self.verified[proposal.arch.arch_id] = VerifiedSubnet(
                arch=proposal.arch,
                accuracy_top1=accuracy,
                latency=latency,
                accuracy_top1_estimated=proposal.mean,
                accuracy_std_estimated=proposal.std,
                latency_ms_estimated=proposal.latency_ms,
                round=self.round,
                role=proposal.role,
            )

    def refit(self) -> None:
        """Let the predictor and the latency correction learn from what was verified."""
        subnets = list(self.verified.values())
        genes = self.space.genes([subnet.arch for subnet in subnets])
        self.knowledge.predictor.fit(
            np.concatenate([self.knowledge.genes, genes]),
            np.concatenate([self.knowledge.accuracy, [s.accuracy_top1 for s in subnets]]),
        )
        measured = np.array([subnet.latency.p50_ms for subnet in subnets])
        self.correction = float(np.median(measured / self.knowledge.latency(genes)))
        for index, pick in enumerate(self.pick_ids()):
            if pick is None:
                self.tightening[index] *= _TIGHTENING

    def ranked(self, budget_ms: float) -> list[VerifiedSubnet]:
        """Return the verified subnets within a budget, best first, faster first among equals."""
        margin = self.settings.latency_margin
        within = [s for s in self.verified.values() if s.meets(budget_ms, margin=margin)]
        return sorted(within, key=lambda s: (-s.accuracy_top1, s.latency.p50_ms))

    def pick_ids(self) -> list[str | None]:
        ranked = [self.ranked(budget) for budget in self.budgets_ms]
        return [subnets[0].arch.arch_id if subnets else None for subnets in ranked]

    def picks(self, result: SearchResult) -> tuple[Pick, ...]:
        tie = _TIE_REACH * self.settings.accuracy_noise
        picks = []
        for budget, finding in zip(self.budgets_ms, self.findings(result), strict=True):
            ranked = self.ranked(budget)
            if not ranked:
                raise InfeasibleConstraintError(self._explain(budget))
            best = ranked[0]
            tied = [s for s in ranked[1:] if best.accuracy_top1 - s.accuracy_top1 <= tie]
            picks.append(
                Pick(
                    budget_ms=budget,
                    subnet=best,
                    runners_up=tuple(ranked[1 : 1 + max(_NUM_RUNNERS_UP, len(tied))]),
                    num_tied=len(tied),
                    price=finding.price,
                )
            )
        return tuple(picks)

    def _explain(self, budget_ms: float) -> str:
        fastest = min(self.verified.values(), key=lambda s: s.latency.p50_ms)
        return (
            f"no verified subnet meets {budget_ms:g} ms with a margin of "
            f"{self.settings.latency_margin:.0%} by measurement: the fastest of "
            f"{len(self.verified)} measured takes {fastest.latency.p50_ms:.4g} ms "
            f"(arch {fastest.arch.arch_id}, {fastest.arch}). Raise the budget, lower "
            "search.latency_margin, or measure on a quieter machine."
        )
