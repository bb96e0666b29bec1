"""RBF kernel ridge regression: two hyperparameters, chosen by exact leave-one-out."""

from collections.abc import Mapping

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace
from ofa_pipeline.predictor.features import feature_groups
from ofa_pipeline.predictor.kernels import Normalizer
from ofa_pipeline.predictor.protocol import (
    PredictorState,
    Range,
    Settings,
    distinct_samples,
    require_fitted,
)

_LENGTHS = np.geomspace(0.003, 3.0, 16)
_PENALTIES = np.geomspace(1e-4, 1.0, 17)
_CHUNK = 4096  # architectures predicted at once, so that memory stays bounded


TUNABLE: Mapping[str, Range] = {}  # its hyperparameters are chosen in each fit


def build(space: SearchSpace, *, seed: int, settings: Settings) -> "KernelRidge":
    """Return an unfitted predictor; it has no settings."""
    del settings
    return KernelRidge(space, seed=seed)


class KernelRidge:
    """RBF kernel ridge on all features at one length scale.

    The standard deviation is that of the equivalent Gaussian process, scaled until leave-one-out
    errors agree with it.

    Source:
        Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, section 5.4.2: the
        leave-one-out residual of sample i is ``[K^-1 y]_i / [K^-1]_ii``.
    """

    kind = "kernel_ridge"

    def __init__(self, space: SearchSpace, *, seed: int = 0) -> None:
        """Predict for architectures of `space`; the method draws nothing, `seed` is unused."""
        del seed
        self.space = space
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
        rows = self._features(samples.genes, Normalizer.fit(self._groups(samples.genes)))
        distances = _squared_distances(rows, rows)
        best = (np.inf, 0.0, 0.0)
        for length in _LENGTHS:
            values, vectors = np.linalg.eigh(np.exp(-length * distances))
            projected = vectors.T @ targets
            for penalty in _PENALTIES:
                inverse = 1.0 / (np.maximum(values, 0.0) + penalty)
                weights = vectors @ (inverse * projected)
                residuals = weights / (vectors**2 @ inverse)
                best = min(best, (float((residuals**2).mean()), float(length), float(penalty)))
        self._solve(samples.genes, targets, np.array([mean, scale, best[1], best[2]]))

    def _solve(self, genes: Genes, targets: FloatArray, settings: FloatArray) -> None:
        rows = self._features(genes, Normalizer.fit(self._groups(genes)))
        kernel = np.exp(-settings[2] * _squared_distances(rows, rows))
        inverse = np.linalg.inv(kernel + settings[3] * np.eye(len(targets)))
        weights = inverse @ targets
        scores = weights / np.sqrt(np.diag(inverse))
        self.restore(
            {
                "genes": genes.astype(np.float64),
                "weights": weights,
                "inverse": inverse,
                "settings": np.append(settings, np.sqrt((scores**2).mean())),
            }
        )

    def predict(self, genes: Genes) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of a measured accuracy; see `AccuracyPredictor`.

        Raises:
            ParamsError: If it was not fitted.
            ArchError: If the genes are not of the space.
        """
        state = self.state()
        self.space.check_genes(genes)
        mean, scale, length, penalty, calibration = state["settings"]
        means, deviations = [np.zeros(0)], [np.zeros(0)]
        for start in range(0, len(genes), _CHUNK):
            rows = self._features(genes[start : start + _CHUNK], self._normalizer)
            cross = np.exp(-length * _squared_distances(rows, self._rows))
            variance = 1.0 + penalty - ((cross @ state["inverse"]) * cross).sum(axis=1)
            means.append(mean + scale * (cross @ state["weights"]))
            deviations.append(scale * calibration * np.sqrt(np.maximum(variance, penalty)))
        return np.concatenate(means), np.concatenate(deviations)

    def state(self) -> PredictorState:
        """Return the fitted arrays; see `StorablePredictor`."""
        return require_fitted(self._state, self.kind)

    def restore(self, state: PredictorState) -> None:
        """Take over what `state` returned."""
        self._state = dict(state)
        genes = self._state["genes"].astype(np.int8)
        self._normalizer = Normalizer.fit(self._groups(genes))
        self._rows = self._features(genes, self._normalizer)

    def _groups(self, genes: Genes) -> dict[str, FloatArray]:
        return feature_groups(self.space, genes)

    def _features(self, genes: Genes, normalizer: Normalizer) -> FloatArray:
        return np.concatenate(normalizer(self._groups(genes)), axis=1)


def _squared_distances(rows: FloatArray, others: FloatArray) -> FloatArray:
    norms = (rows**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None]
    distances: FloatArray = np.maximum(norms - 2 * rows @ others.T, 0.0)
    return distances
