"""Our surrogate search as an ordinary Optuna sampler, and Optuna's own by name."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ofa_pipeline.arch import Arch, FloatArray, Genes, SearchSpace
from ofa_pipeline.errors import ArchError, ParamsError, suggest
from ofa_pipeline.predictor import StorablePredictor, build_predictor
from ofa_pipeline.search.acquisition import propose
from ofa_pipeline.search.evolution import EvolutionSettings
from ofa_pipeline.search.front import Estimates, search_front
from ofa_pipeline.search.ledger import arch_of, distributions, params_of
from ofa_pipeline.search.objectives import Objective, Score, find_cheapest

_NUM_BUDGETS = 6
_ABOVE_CHEAPEST = 1.1  # the smallest budget, by the cheapest latency
_BATCH = 12  # proposals of one fit; workers that ask in between share them
_HEADROOM = 2.0  # of the largest latency measured, so that scaled latencies stay within 0 to 1
_QUICK = EvolutionSettings(
    population=256, generations=15, patience=5, elite=32, islands=0, filler_niches=4
)


class SurrogateSampler(BaseSampler):
    """Proposes subnets from accuracy predictor and latency model, refitted as trials complete.

    For studies with two objectives, accuracy to maximise and latency to minimise, whose
    parameters are those of `distributions`. Begins with random subnets; then half of the
    proposals are predicted best for one of several budgets, half are uncertain.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        kind: str = "gaussian_process",
        latency: Score | None = None,
        num_startup: int = 20,
        seed: int = 0,
    ) -> None:
        """Propose subnets of a space.

        Args:
            space: Whose genes are the parameters of the study.
            kind: Of the accuracy predictor.
            latency: A latency model in milliseconds; learned from the trials when left out.
            num_startup: Random subnets before the first fit.
            seed: Of everything that is drawn.
        """
        self._space = space
        self._kind = kind
        self._latency = latency
        self._num_startup = num_startup
        self._seed = seed
        self._queue: list[Arch] = []
        self._independent = optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all genes: they are chosen together.

        Raises:
            ParamsError: If the study has other objectives.
        """
        del trial
        wanted = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
        if study.directions != wanted:
            raise ParamsError(
                "SurrogateSampler needs a study that maximises accuracy and minimises latency, "
                f"got {[direction.name.lower() for direction in study.directions]}"
            )
        return distributions(self._space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters of the next proposal."""
        del search_space
        known = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        taken = {
            arch.arch_id
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and (arch := self._arch_of(other.params)) is not None
        }
        rng = np.random.default_rng([self._seed, trial.number])
        if len(known) < self._num_startup:
            return params_of(self._space, self._random(rng, taken))
        self._queue = [arch for arch in self._queue if arch.arch_id not in taken]
        if not self._queue:
            self._queue = self._proposals(known, taken, seed=int(rng.integers(2**31)))
        arch = self._queue.pop(0) if self._queue else self._random(rng, taken)
        return params_of(self._space, arch)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:  # noqa: ANN401 - Optuna's own signature
        """Draw a parameter that is no gene at random."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _arch_of(self, params: Mapping[str, Any]) -> Arch | None:
        try:
            return arch_of(self._space, params)
        except ArchError:
            return None  # a trial of another worker that has not drawn its parameters yet

    def _random(self, rng: np.random.Generator, taken: set[str]) -> Arch:
        archs = self._space.archs(self._space.sample(rng, 64))
        fresh = [arch for arch in archs if arch.arch_id not in taken]
        return (fresh or archs)[0]

    def _proposals(self, known: list[FrozenTrial], taken: set[str], *, seed: int) -> list[Arch]:
        archs = [arch_of(self._space, trial.params) for trial in known]
        genes = self._space.genes(archs)
        accuracy = np.array([trial.values[0] for trial in known])
        latency_ms = np.array([trial.values[1] for trial in known])
        predictor = build_predictor(self._space, self._kind, seed=self._seed)
        predictor.fit(genes, accuracy)
        latency = self._latency or _learned_latency(self._space, genes, latency_ms)
        rng = np.random.default_rng(seed)
        cheapest = find_cheapest(self._space, Objective("latency_ms", latency), rng=rng).cost
        widest = max(float(latency_ms.max()), 2 * cheapest)
        budgets = np.geomspace(_ABOVE_CHEAPEST * cheapest, widest, _NUM_BUDGETS)
        result = search_front(
            Estimates(self._space, predictor.predict, latency),
            budgets_ms=budgets.tolist(),
            settings=replace(_QUICK, seed=seed),
            seeds=genes,
        )
        pool = np.unique(np.concatenate([f.candidates.genes for f in result.findings]), axis=0)
        return self._choose(pool, predictor, latency(pool), budgets, taken)

    def _choose(
        self,
        pool: Genes,
        predictor: StorablePredictor,
        latency_ms: FloatArray,
        budgets: FloatArray,
        taken: set[str],
    ) -> list[Arch]:
        archs = self._space.archs(pool)
        mean, std = predictor.predict(pool)
        rows = propose(
            mean,
            std,
            within=latency_ms[:, None] <= budgets[None],
            is_taken=np.array([arch.arch_id in taken for arch in archs]),
            count=_BATCH,
        )
        return [archs[row] for row in rows]


def _learned_latency(space: SearchSpace, genes: Genes, latency_ms: FloatArray) -> Score:
    """Return a latency model that was fitted to measured subnets."""
    scale = _HEADROOM * float(latency_ms.max())
    model = build_predictor(space, "kernel_ridge", seed=0)
    model.fit(genes, latency_ms / scale)
    floor = 0.1 * float(latency_ms.min())
    return lambda rows: np.maximum(model.predict(rows)[0] * scale, floor)


def build_sampler(
    name: str, space: SearchSpace, *, seed: int, latency: Score | None = None
) -> BaseSampler:
    """Return a sampler by name: ``surrogate``, ``nsga2``, ``tpe``, ``gp`` or ``random``.

    Args:
        name: Of the sampler.
        space: Whose genes are the parameters.
        seed: Of everything that is drawn.
        latency: A latency model for ``surrogate``; the others know none.

    Raises:
        ParamsError: If there is no such sampler.
    """
    builders: dict[str, Callable[[], BaseSampler]] = {
        "surrogate": lambda: SurrogateSampler(space, latency=latency, seed=seed),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    if name not in builders:
        raise ParamsError(f"unknown sampler {name!r}.{suggest(name, builders)}")
    return builders[name]()
