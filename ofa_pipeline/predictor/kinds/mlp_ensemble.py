"""Multilayer perceptrons on one-hot genes, several on subsamples; they have slopes.

They learn with scikit-learn and predict with numpy, so that a saved predictor needs no pickle.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.predictor.features import one_hot_feature_slopes, one_hot_features
from ofa_pipeline.predictor.members import HeldOut, Scaling, chunks, mean_and_std, subsamples
from ofa_pipeline.predictor.perceptron import Activations, Perceptron
from ofa_pipeline.predictor.protocol import (
    PredictorState,
    Range,
    Settings,
    distinct_samples,
    require_fitted,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSettings:
    """Settings of the ensemble of perceptrons.

    Source:
        Three layers on one-hot genes as in Cai et al. 2020, appendix A (there of 400, on 16,000
        samples); narrower, because we have fewer.
    """

    width: int = 128
    num_layers: int = 2
    learning_rate: float = 3e-3
    penalty: float = 1e-3
    epochs: int = 300
    members: int = 5


TUNABLE: Mapping[str, Range] = {
    "width": Range(32, 400, is_log=True, is_whole=True),
    "num_layers": Range(1, 3, is_whole=True),
    "learning_rate": Range(3e-4, 1e-2, is_log=True),
    "penalty": Range(1e-5, 1e-1, is_log=True),
    "epochs": Range(50, 500, is_log=True, is_whole=True),
}
"""What `predictor.tune` tries."""


def build(space: SearchSpace, *, seed: int, settings: Settings) -> "MlpEnsemble":
    """Return an unfitted predictor; settings by the names of `MlpSettings`."""
    return MlpEnsemble(space, seed=seed, settings=replace(MlpSettings(), **settings))


class MlpEnsemble:
    """Multilayer perceptrons on one-hot genes, several on subsamples."""

    kind = "mlp_ensemble"

    def __init__(
        self, space: SearchSpace, *, seed: int = 0, settings: MlpSettings | None = None
    ) -> None:
        """Predict for architectures of `space`."""
        self.space = space
        self._seed = seed
        self._settings = settings or MlpSettings()
        self._state: PredictorState | None = None

    def fit(self, genes: Genes, accuracy: FloatArray) -> None:
        """Learn from measured subnets; see `AccuracyPredictor`.

        Raises:
            ParamsError: If a label is not a fraction, or fewer than two architectures differ.
        """
        samples = distinct_samples(self.space, genes, accuracy)
        rows = one_hot_features(self.space, samples.genes)
        center = rows.mean(axis=0)
        spread = np.maximum(rows.std(axis=0), 0.1)  # a choice that is rare is not blown up
        rows = (rows - center) / spread
        scaling = Scaling.of(samples)
        held_out = HeldOut.empty(len(rows))
        state: dict[str, FloatArray] = {"center": center, "spread": spread}
        for member, chosen in enumerate(subsamples(len(rows), self._settings.members, self._seed)):
            layers = self._train(rows[chosen], scaling.targets[chosen], member)
            held_out.add(chosen, Perceptron(layers[::2], layers[1::2])(rows).output)
            state |= {f"layer_{member}_{place}": layer for place, layer in enumerate(layers)}
        self.restore({**state, "scaling": scaling.calibrated(held_out)})

    def _train(self, rows: FloatArray, targets: FloatArray, member: int) -> list[FloatArray]:
        """Return weight, bias, weight, bias, ..."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor

        settings = self._settings
        model = MLPRegressor(
            hidden_layer_sizes=(settings.width,) * settings.num_layers,
            alpha=settings.penalty,
            learning_rate_init=settings.learning_rate,
            max_iter=settings.epochs,
            batch_size=min(64, len(rows)),
            random_state=self._seed + member,
        )
        with warnings.catch_warnings():
            # The number of epochs is the regularisation, so ending there is no failure.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows, targets)
        return [
            np.asarray(array, dtype=np.float64)
            for pair in zip(model.coefs_, model.intercepts_, strict=True)
            for array in pair
        ]

    def predict(self, genes: Genes) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of a measured accuracy; see `AccuracyPredictor`.

        Raises:
            ParamsError: If it was not fitted.
            ArchError: If the genes are not of the space.
        """
        state = self.state()
        self.space.check_genes(genes)
        by_chunk = [np.stack([ran.output for ran in self._run(chunk)]) for chunk in chunks(genes)]
        return mean_and_std(by_chunk, state["scaling"], len(self._members))

    def trace(self, genes: Genes) -> "_EnsembleTrace":
        """Predict, and keep what the slopes need; see `DifferentiablePredictor`.

        Raises:
            ParamsError: If it was not fitted.
        """
        self.state()
        return _EnsembleTrace(self, self._run(genes))

    def _run(self, genes: Genes) -> list[Activations]:
        state = self.state()
        rows = (one_hot_features(self.space, genes) - state["center"]) / state["spread"]
        return [member(rows) for member in self._members]

    def mean_of(self, ran: Sequence[Activations]) -> FloatArray:
        """Return the mean of the members' outputs, as a fraction."""
        mean, scale, *_ = self.state()["scaling"]
        average: FloatArray = mean + scale * np.mean([one.output for one in ran], axis=0)
        return average

    def slopes_of(self, ran: Sequence[Activations], rows: IntArray) -> FloatArray:
        """Return the mean of the members' slopes; see `Trace`."""
        state = self.state()
        total = sum(
            member.slopes(one, rows) @ member.weights[0].T
            for member, one in zip(self._members, ran, strict=True)
        )
        by_feature = total * (state["scaling"][1] / len(self._members)) / state["spread"]
        slopes: FloatArray = by_feature @ one_hot_feature_slopes(self.space).T
        return slopes

    def state(self) -> PredictorState:
        """Return the fitted arrays; see `StorablePredictor`."""
        return require_fitted(self._state, self.kind)

    def restore(self, state: PredictorState) -> None:
        """Take over what `state` returned."""
        self._state = dict(state)
        num_members = 1 + max(int(n.split("_")[1]) for n in state if n.startswith("layer_"))
        num_arrays = sum(name.startswith("layer_0_") for name in state)
        self._members = [
            Perceptron(
                [state[f"layer_{m}_{place}"] for place in range(0, num_arrays, 2)],
                [state[f"layer_{m}_{place}"] for place in range(1, num_arrays, 2)],
            )
            for m in range(num_members)
        ]


@dataclass(frozen=True, slots=True)
class _EnsembleTrace:
    """See `Trace`."""

    ensemble: MlpEnsemble
    ran: Sequence[Activations]

    @property
    def mean(self) -> FloatArray:
        return self.ensemble.mean_of(self.ran)

    def slopes(self, rows: IntArray) -> FloatArray:
        return self.ensemble.slopes_of(self.ran, rows)
