"""Ridge regression on one-hot genes: accuracy as a sum over blocks."""

from collections.abc import Mapping

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace
from ofa_pipeline.predictor.features import one_hot_features
from ofa_pipeline.predictor.protocol import (
    PredictorState,
    Range,
    Settings,
    distinct_samples,
    require_fitted,
)

_PENALTIES = np.geomspace(1e-3, 1e3, 25)


TUNABLE: Mapping[str, Range] = {}  # its hyperparameters are chosen in each fit


def build(space: SearchSpace, *, seed: int, settings: Settings) -> "Ridge":
    """Return an unfitted predictor; it has no settings."""
    del settings
    return Ridge(space, seed=seed)


class Ridge:
    """Linear model of one-hot genes; the penalty is chosen by exact leave-one-out.

    The weakest but the most readable predictor, and the only one that is a sum over blocks, so
    that `ofa_pipeline.search.exact` finds its best subnets exactly.

    Source:
        Hastie, Tibshirani and Friedman 2009, The Elements of Statistical Learning, section 7.10
        (leave-one-out of a linear smoother: ``residual / (1 - leverage)``).
    """

    kind = "ridge"

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
        rows = one_hot_features(self.space, samples.genes)
        center, mean = rows.mean(axis=0), float(samples.accuracy.mean())
        left, values, right = np.linalg.svd(rows - center, full_matrices=False)
        targets = left.T @ (samples.accuracy - mean)
        best = (np.inf, 0.0)
        for penalty in _PENALTIES:
            shrink = values**2 / (values**2 + penalty)
            leverage = np.minimum((left**2) @ shrink + 1 / len(rows), 1 - 1e-6)
            residuals = (samples.accuracy - mean - left @ (shrink * targets)) / (1 - leverage)
            best = min(best, (float((residuals**2).mean()), float(penalty)))
        error, penalty = best
        gains = values / (values**2 + penalty)
        self._state = {
            "center": center,
            "weights": right.T @ (gains * targets),
            # Directions that the samples do not tell anything about are as uncertain as all are.
            "spread": right.T * np.sqrt(1 / (values**2 + penalty)),
            "settings": np.array([mean, np.sqrt(error)]),
        }

    def predict(self, genes: Genes) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of a measured accuracy; see `AccuracyPredictor`.

        Raises:
            ParamsError: If it was not fitted.
            ArchError: If the genes are not of the space.
        """
        state = self.state()
        self.space.check_genes(genes)
        rows = one_hot_features(self.space, genes) - state["center"]
        mean, error = state["settings"]
        leverage = ((rows @ state["spread"]) ** 2).sum(axis=1)
        return mean + rows @ state["weights"], error * np.sqrt(1 + leverage)

    def state(self) -> PredictorState:
        """Return the fitted arrays; see `StorablePredictor`."""
        return require_fitted(self._state, self.kind)

    def restore(self, state: PredictorState) -> None:
        """Take over what `state` returned."""
        self._state = dict(state)
