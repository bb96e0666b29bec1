"""Optuna's samplers as samplers of the search.

For each budget a study in memory is told what is known: accuracy, to be maximised, and how far the
latency is beyond the limit, as a constraint. What the sampler then suggests is proposed, and told
to it with what the estimates believe, as if it were measured, so that it suggests something else
next. The study is made anew for each request: what is proposed depends on nothing but the request.

Source:
    Ginsbourger, Le Riche and Carraro 2010, Kriging is well-suited to parallelize optimization,
    section 4.2 ("Kriging believer"); here the believer is the accuracy predictor.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.trial import create_trial
from threadpoolctl import threadpool_limits

from ofa_pipeline.arch import Arch
from ofa_pipeline.search.sampling import Proposal, Request
from ofa_pipeline.search.trial_params import arch_of, distributions, params_of

_ATTEMPTS = 8  # suggestions for each subnet that is wanted
_CONSTRAINT = "latency_ms beyond the limit"


@dataclass(frozen=True, slots=True)
class StudySampler:
    """Proposes what one of Optuna's samplers suggests."""

    build: Callable[[int], BaseSampler]
    """Returns the sampler for a seed."""

    def propose(self, request: Request) -> list[Proposal]:
        """Suggest subnets for one budget; see `Sampler`.

        The first is the most accurate known subnet within the limit, where it is not verified yet
        (if none is within the limit, the fastest of the space), so that the budget is met.
        """
        first = [arch for arch in (_incumbent(request),) if arch.arch_id not in request.taken]
        proposals = request.believed(first, role="exploit")
        # One thread: the matrices are small, and sums in another order would change the last bits.
        with threadpool_limits(limits=1):
            suggested = list(self._suggest(request, request.count - len(proposals), proposals))
        # What is beyond the limit by estimate comes last: it can only serve a larger budget.
        suggested.sort(key=lambda proposal: max(proposal.latency_ms, request.limit_ms))
        return [*proposals, *suggested][: request.count]

    def _suggest(
        self, request: Request, count: int, proposals: list[Proposal]
    ) -> Iterator[Proposal]:
        """Yield suggestions until there are enough within the limit, or too many were needed."""
        space = request.estimates.space
        study = self._informed_study(request)
        for proposal in proposals:
            _tell_known(study, request, proposal.arch, proposal.mean, proposal.latency_ms)
        taken = {*request.taken, *(proposal.arch.arch_id for proposal in proposals)}
        missing = count
        for _ in range(_ATTEMPTS * count):
            if missing <= 0:
                return
            trial = study.ask(fixed_distributions=distributions(space))
            (proposal,) = request.believed([arch_of(space, trial.params)], role="sample")
            trial.set_constraint(_CONSTRAINT, proposal.latency_ms - request.limit_ms)
            study.tell(trial, proposal.mean)
            if proposal.arch.arch_id not in taken:
                taken.add(proposal.arch.arch_id)
                missing -= proposal.latency_ms <= request.limit_ms
                yield proposal

    def _informed_study(self, request: Request) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # not a line for each study and trial
        study = optuna.create_study(direction="maximize", sampler=self.build(request.seed))
        known = request.known
        for arch, accuracy, latency_ms in zip(
            request.estimates.space.archs(known.genes),
            known.accuracy.tolist(),
            known.latency_ms.tolist(),
            strict=True,
        ):
            _tell_known(study, request, arch, accuracy, latency_ms)
        return study


def _tell_known(
    study: optuna.Study, request: Request, arch: Arch, accuracy: float, latency_ms: float
) -> None:
    space = request.estimates.space
    params, excess_ms = params_of(space, arch), latency_ms - request.limit_ms
    if not isinstance(study.sampler, BaseGASampler):
        study.add_trial(
            create_trial(
                value=accuracy,
                params=params,
                distributions=distributions(space),
                constraints={_CONSTRAINT: excess_ms},
            )
        )
        return
    # A genetic algorithm breeds only from trials that it was asked for, even if it was told what
    # to answer: only then are they of a generation.
    study.enqueue_trial(params)
    trial = study.ask(fixed_distributions=distributions(space))
    trial.set_user_attr("instead of", trial.relative_params)
    trial.set_constraint(_CONSTRAINT, excess_ms)
    study.tell(trial, accuracy)


def _incumbent(request: Request) -> Arch:
    known = request.known
    within = np.flatnonzero(known.latency_ms <= request.limit_ms)
    if not len(within):
        return request.fastest
    best = within[known.accuracy[within].argmax()]
    return request.estimates.space.archs(known.genes[best : best + 1])[0]
