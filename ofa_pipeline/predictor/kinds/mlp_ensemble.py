"""Predictors made of many: boosted trees and multilayer perceptrons, kept as plain arrays.

Both learn with scikit-learn and predict with numpy, so that a saved predictor needs no pickle.
Members see different samples; where they disagree, the predictor is uncertain. The standard
deviation is scaled until the members' out-of-sample errors agree with it.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.predictor.features import (
    feature_groups,
    one_hot_feature_slopes,
    one_hot_features,
)
from ofa_pipeline.predictor.perceptron import Activations, Perceptron
from ofa_pipeline.predictor.protocol import Samples, State, distinct_samples, require_fitted

_CHUNK = 8192  # architectures predicted at once, so that memory stays bounded
_MIN_HELD_OUT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BoostingSettings:
    """Of gradient boosting."""

    num_trees: int = 120
    max_depth: int = 3
    learning_rate: float = 0.1
    subsample: float = 0.7
    members: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSettings:
    """Of the ensemble of perceptrons.

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


class GradientBoosting:
    """Gradient-boosted regression trees, several on subsamples."""

    kind = "gradient_boosting"

    def __init__(
        self, space: SearchSpace, *, seed: int = 0, settings: BoostingSettings | None = None
    ) -> None:
        """Predict for architectures of `space`."""
        self.space = space
        self._seed = seed
        self._settings = settings or BoostingSettings()
        self._state: State | None = None

    def fit(self, genes: Genes, accuracy: FloatArray) -> None:
        """Learn from measured subnets; see `AccuracyPredictor`.

        Raises:
            ParamsError: If a label is not a fraction, or fewer than two architectures differ.
        """
        from sklearn.ensemble import GradientBoostingRegressor

        samples = distinct_samples(self.space, genes, accuracy)
        rows = _plain_features(self.space, samples.genes)
        scaling = _Scaling.of(samples)
        settings = self._settings
        trees: list[FloatArray] = []
        held_out = _HeldOut.empty(len(rows))
        for chosen in _subsamples(len(rows), settings.members, self._seed):
            model = GradientBoostingRegressor(
                n_estimators=settings.num_trees,
                max_depth=settings.max_depth,
                learning_rate=settings.learning_rate,
                subsample=settings.subsample,
                random_state=self._seed + len(trees),
            )
            model.fit(rows[chosen], scaling.targets[chosen])
            start = float(model.init_.constant_[0, 0])
            flat = _flatten([tree[0].tree_ for tree in model.estimators_])
            flat["value"] *= settings.learning_rate
            trees.append(_pack(flat, start))
            held_out.add(chosen, _boosted(trees[-1], rows))
        self._state = {
            **{f"member_{index}": tree for index, tree in enumerate(trees)},
            "scaling": scaling.calibrated(held_out),
        }

    def predict(self, genes: Genes) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of a measured accuracy; see `AccuracyPredictor`.

        Raises:
            ParamsError: If it was not fitted.
            ArchError: If the genes are not of the space.
        """
        state = self.state()
        self.space.check_genes(genes)
        members = [array for name, array in sorted(state.items()) if name.startswith("member_")]
        by_chunk = [
            np.stack([_boosted(member, _plain_features(self.space, chunk)) for member in members])
            for chunk in _chunks(genes)
        ]
        return _mean_and_std(by_chunk, state["scaling"], len(members))

    def state(self) -> State:
        """Return the fitted arrays; see `StorablePredictor`."""
        return require_fitted(self._state, self.kind)

    def restore(self, state: State) -> None:
        """Take over what `state` returned."""
        self._state = dict(state)


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
        self._state: State | None = None

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
        scaling = _Scaling.of(samples)
        held_out = _HeldOut.empty(len(rows))
        state: dict[str, FloatArray] = {"center": center, "spread": spread}
        for member, chosen in enumerate(_subsamples(len(rows), self._settings.members, self._seed)):
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
        by_chunk = [np.stack([ran.output for ran in self._run(chunk)]) for chunk in _chunks(genes)]
        return _mean_and_std(by_chunk, state["scaling"], len(self._members))

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

    def state(self) -> State:
        """Return the fitted arrays; see `StorablePredictor`."""
        return require_fitted(self._state, self.kind)

    def restore(self, state: State) -> None:
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


@dataclass(frozen=True, slots=True)
class _Scaling:
    mean: float
    scale: float
    labels: FloatArray
    targets: FloatArray

    @classmethod
    def of(cls, samples: Samples) -> "_Scaling":
        mean, scale = float(samples.accuracy.mean()), float(samples.accuracy.std()) or 1.0
        return cls(mean, scale, samples.accuracy, (samples.accuracy - mean) / scale)

    def calibrated(self, held_out: "_HeldOut") -> FloatArray:
        """Return mean, scale, the error floor and the factor of the members' disagreement."""
        rows = held_out.count > 0
        if rows.sum() < _MIN_HELD_OUT:
            return np.array([self.mean, self.scale, 1.0, 1.0])
        error = (held_out.mean()[rows] - self.targets[rows]) ** 2
        spread = held_out.variance()[rows]
        # Half of the error is granted everywhere, the rest grows with the disagreement.
        floor = 0.5 * float(error.mean())
        factor = floor / max(float(spread.mean()), 1e-12)
        return np.array([self.mean, self.scale, floor, factor])


@dataclass
class _HeldOut:
    """Predictions of each sample by the members that did not see it."""

    total: FloatArray
    squares: FloatArray
    count: FloatArray

    @classmethod
    def empty(cls, size: int) -> "_HeldOut":
        return cls(np.zeros(size), np.zeros(size), np.zeros(size))

    def add(self, seen: IntArray, predicted: FloatArray) -> None:
        out = np.ones(len(self.count), dtype=bool)
        out[seen] = False
        self.total[out] += predicted[out]
        self.squares[out] += predicted[out] ** 2
        self.count[out] += 1

    def mean(self) -> FloatArray:
        average: FloatArray = self.total / np.maximum(self.count, 1)
        return average

    def variance(self) -> FloatArray:
        squares: FloatArray = self.squares / np.maximum(self.count, 1)
        return np.maximum(squares - self.mean() ** 2, 0.0)


def _subsamples(size: int, members: int, seed: int) -> list[IntArray]:
    """Return the samples of each member: four fifths of all, drawn without repeats."""
    rng = np.random.default_rng(seed)
    count = max(2, (4 * size) // 5)
    return [np.sort(rng.choice(size, count, replace=False)) for _ in range(members)]


def _chunks(genes: Genes) -> list[Genes]:
    return [genes[start : start + _CHUNK] for start in range(0, len(genes), _CHUNK)]


def _mean_and_std(
    by_chunk: list[FloatArray], scaling: FloatArray, num_members: int
) -> tuple[FloatArray, FloatArray]:
    outputs = np.concatenate([np.zeros((num_members, 0)), *by_chunk], axis=1)
    mean, scale, floor, factor = scaling
    variance = floor + factor * outputs.var(axis=0)
    return mean + scale * outputs.mean(axis=0), scale * np.sqrt(variance)


def _plain_features(space: SearchSpace, genes: Genes) -> FloatArray:
    return np.concatenate(list(feature_groups(space, genes).values()), axis=1)


def _flatten(trees: list[object]) -> dict[str, FloatArray]:
    """Return the nodes of all trees in one table; children are row numbers, leaves their own."""
    columns: dict[str, list[FloatArray]] = {
        name: [] for name in ("left", "right", "feature", "threshold", "value", "root")
    }
    offset = 0
    for tree in trees:
        left, right = np.array(tree.children_left), np.array(tree.children_right)  # type: ignore[attr-defined]
        own = np.arange(len(left))
        leaf = left < 0
        columns["left"].append(np.where(leaf, own, left) + offset)
        columns["right"].append(np.where(leaf, own, right) + offset)
        columns["feature"].append(np.maximum(np.array(tree.feature), 0))  # type: ignore[attr-defined]
        columns["threshold"].append(np.array(tree.threshold))  # type: ignore[attr-defined]
        columns["value"].append(np.array(tree.value)[:, 0, 0])  # type: ignore[attr-defined]
        columns["root"].append((own == 0).astype(np.float64))
        offset += len(left)
    return {name: np.concatenate(parts).astype(np.float64) for name, parts in columns.items()}


def _pack(flat: dict[str, FloatArray], start: float) -> FloatArray:
    """Return the node table as one array; its last row holds the constant."""
    order = ("left", "right", "feature", "threshold", "value", "root")
    table = np.stack([flat[name] for name in order])
    return np.concatenate([table, np.array([[0, 0, 0, 0, start, 0]]).T], axis=1)


def _boosted(packed: FloatArray, rows: FloatArray) -> FloatArray:
    """Walk every row down every tree at once and add up the leaves."""
    left, right, feature = (packed[place, :-1].astype(np.int64) for place in range(3))
    threshold, value = packed[3, :-1], packed[4, :-1]
    node = np.tile(np.flatnonzero(packed[5, :-1]), (len(rows), 1))
    lines = np.arange(len(rows))[:, None]
    # scikit-learn compares features in float32.
    narrow = rows.astype(np.float32)
    while True:
        goes_left = narrow[lines, feature[node]] <= threshold[node]
        following = np.where(goes_left, left[node], right[node])
        if (following == node).all():
            break
        node = following
    total: FloatArray = packed[4, -1] + value[node].sum(axis=1)
    return total
