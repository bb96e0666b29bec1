"""Gaussian process on grouped features: the default accuracy predictor for few samples."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace
from ofa_pipeline.predictor.features import feature_groups
from ofa_pipeline.predictor.kernels import GroupGrams, GroupKernel, Normalizer
from ofa_pipeline.predictor.protocol import (
    PredictorState,
    Range,
    Settings,
    distinct_samples,
    require_fitted,
)

_TUNED_ON = 400  # samples; more change the hyperparameters little and cost their cube
_LOG_BOUNDS = (-9.0, 4.0)
_CHUNK = 4096  # architectures predicted at once, so that memory stays bounded


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianProcessSettings:
    """The prior of the hyperparameters, whose logarithms are normal around their start."""

    prior_spread: float = 3.0
    """Standard deviation of the logarithms."""
    start_noise: float = 0.02
    """Variance of the labels' noise, in variances of the labels."""


TUNABLE: Mapping[str, Range] = {
    "prior_spread": Range(0.2, 10.0, is_log=True),
    "start_noise": Range(1e-3, 0.5, is_log=True),
}
"""What `predictor.tune` tries."""


def build(space: SearchSpace, *, seed: int, settings: Settings) -> "GaussianProcess":
    """Return an unfitted predictor; settings by the names of `GaussianProcessSettings`."""
    return GaussianProcess(
        space, seed=seed, settings=replace(GaussianProcessSettings(), **settings)
    )


class GaussianProcess:
    """Predicts mean and uncertainty; hyperparameters maximise the marginal likelihood.

    Labels are standardised, labels of equal architectures averaged with the noise that their
    number implies. The standard deviation is scaled until leave-one-out errors agree with it.

    Source:
        Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, sections 2.2
        (prediction), 5.4.1 (marginal likelihood) and 5.4.2 (leave-one-out).
    """

    kind = "gaussian_process"

    def __init__(
        self, space: SearchSpace, *, seed: int = 0, settings: GaussianProcessSettings | None = None
    ) -> None:
        """Predict for architectures of `space`."""
        self.space = space
        self._seed = seed
        self._settings = settings or GaussianProcessSettings()
        self._state: PredictorState | None = None

    def fit(self, genes: Genes, accuracy: FloatArray) -> None:
        """Learn from measured subnets; see `AccuracyPredictor`.

        Raises:
            ParamsError: If a label is not a fraction, or fewer than two architectures differ.
        """
        samples = distinct_samples(self.space, genes, accuracy)
        mean = float(samples.accuracy.mean())
        scale = float(samples.accuracy.std()) or 1.0
        targets = (samples.accuracy - mean) / scale
        groups = feature_groups(self.space, samples.genes)
        normalizer = Normalizer.fit(groups)
        rows = normalizer(groups)
        params = self._tune(rows, targets, samples.repeats)
        covariance = _covariance(params, GroupGrams.of(rows, rows), samples.repeats)
        lower: FloatArray = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        weights = cho_solve((lower, True), targets)
        self._state = {
            "genes": samples.genes.astype(np.float64),
            "repeats": samples.repeats,
            "lower": lower,
            "weights": weights,
            "params": params,
            "scaling": np.array([mean, scale, _calibration(lower, weights)]),
        }
        self._prepare()

    def predict(self, genes: Genes) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of a measured accuracy; see `AccuracyPredictor`.

        Raises:
            ParamsError: If it was not fitted.
            ArchError: If the genes are not of the space.
        """
        require_fitted(self._state, self.kind)
        self.space.check_genes(genes)
        parts = [
            self._predict_chunk(genes[start : start + _CHUNK])
            for start in range(0, len(genes), _CHUNK)
        ]
        if not parts:
            return np.zeros(0), np.zeros(0)
        return np.concatenate([m for m, _ in parts]), np.concatenate([s for _, s in parts])

    def state(self) -> PredictorState:
        """Return the fitted arrays; see `StorablePredictor`."""
        return require_fitted(self._state, self.kind)

    def restore(self, state: PredictorState) -> None:
        """Take over what `state` returned."""
        self._state = dict(state)
        self._prepare()

    def _prepare(self) -> None:
        state = self.state()
        groups = feature_groups(self.space, state["genes"].astype(np.int8))
        self._normalizer = Normalizer.fit(groups)
        self._rows = self._normalizer(groups)
        self._kernel = GroupKernel(len(self._rows))
        # One matrix product a prediction instead of one triangular system: three times faster.
        size = len(state["lower"])
        self._whitening = solve_triangular(state["lower"], np.eye(size), lower=True).T

    def _predict_chunk(self, genes: Genes) -> tuple[FloatArray, FloatArray]:
        state = self.state()
        rows = self._normalizer(feature_groups(self.space, genes))
        params, noise = state["params"][:-1], float(np.exp(state["params"][-1]))
        cross = self._kernel(params, GroupGrams.of(rows, self._rows))
        mean, scale, calibration = state["scaling"]
        explained = cross @ self._whitening
        prior = self._kernel.diagonal(params, rows)
        variance = np.maximum(prior - (explained**2).sum(axis=1), 0.0) + noise
        return mean + scale * (cross @ state["weights"]), scale * calibration * np.sqrt(variance)

    def _tune(self, rows: list[FloatArray], targets: FloatArray, repeats: FloatArray) -> FloatArray:
        chosen = np.arange(len(targets))
        if len(chosen) > _TUNED_ON:
            rng = np.random.default_rng(self._seed)
            chosen = np.sort(rng.choice(chosen, _TUNED_ON, replace=False))
        subset = [array[chosen] for array in rows]
        grams = GroupGrams.of(subset, subset)
        kernel = GroupKernel(len(rows))
        start = np.append(kernel.start(), np.log(self._settings.start_noise))

        def objective(params: FloatArray) -> tuple[float, FloatArray]:
            return _negative_log_posterior(
                params,
                start,
                grams,
                targets=targets[chosen],
                repeats=repeats[chosen],
                spread=self._settings.prior_spread,
            )

        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[_LOG_BOUNDS] * len(start),
            options={"maxiter": 60},
        )
        tuned: FloatArray = found.x
        return tuned


def _covariance(params: FloatArray, grams: GroupGrams, repeats: FloatArray) -> FloatArray:
    kernel = GroupKernel(len(grams.distances))
    return kernel(params[:-1], grams) + np.diag(np.exp(params[-1]) / repeats)


def _negative_log_posterior(
    params: FloatArray,
    start: FloatArray,
    grams: GroupGrams,
    *,
    targets: FloatArray,
    repeats: FloatArray,
    spread: float,
) -> tuple[float, FloatArray]:
    kernel = GroupKernel(len(grams.distances))
    deviation = (params - start) / spread
    try:
        lower = np.linalg.cholesky(_covariance(params, grams, repeats))
    except np.linalg.LinAlgError:
        return 1e9, deviation / spread
    inverse = cho_solve((lower, True), np.eye(len(targets)))
    weights = inverse @ targets
    outer = 0.5 * (inverse - np.outer(weights, weights))
    noise_slope = float(np.exp(params[-1]) * (np.diag(outer) / repeats).sum())
    value = 0.5 * targets @ weights + np.log(np.diag(lower)).sum() + 0.5 * deviation @ deviation
    slope = np.append(kernel.gradient(params[:-1], grams, outer), noise_slope)
    return float(value), slope + deviation / spread


def _calibration(lower: FloatArray, weights: FloatArray) -> float:
    """Return the root mean square of leave-one-out errors in their standard deviations."""
    precision = np.diag(cho_solve((lower, True), np.eye(len(weights))))
    scores = weights / np.sqrt(precision)
    return float(np.clip(np.sqrt((scores**2).mean()), 0.5, 3.0))
