"""Gradient-boosted regression trees, several on subsamples.

They learn with scikit-learn and predict with numpy, so that a saved predictor needs no pickle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace
from ofa_pipeline.predictor.features import feature_groups
from ofa_pipeline.predictor.members import HeldOut, Scaling, chunks, mean_and_std, subsamples
from ofa_pipeline.predictor.protocol import (
    PredictorState,
    Range,
    Settings,
    distinct_samples,
    require_fitted,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoostingSettings:
    """Settings of gradient boosting."""

    num_trees: int = 120
    max_depth: int = 3
    learning_rate: float = 0.1
    subsample: float = 0.7
    members: int = 4


TUNABLE: Mapping[str, Range] = {
    "num_trees": Range(40, 400, is_log=True, is_whole=True),
    "max_depth": Range(1, 5, is_whole=True),
    "learning_rate": Range(0.02, 0.3, is_log=True),
    "subsample": Range(0.4, 1.0),
}
"""What `predictor.tune` tries."""


def build(space: SearchSpace, *, seed: int, settings: Settings) -> "GradientBoosting":
    """Return an unfitted predictor; settings by the names of `BoostingSettings`."""
    return GradientBoosting(space, seed=seed, settings=replace(BoostingSettings(), **settings))


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
        self._state: PredictorState | None = None

    def fit(self, genes: Genes, accuracy: FloatArray) -> None:
        """Learn from measured subnets; see `AccuracyPredictor`.

        Raises:
            ParamsError: If a label is not a fraction, or fewer than two architectures differ.
        """
        from sklearn.ensemble import GradientBoostingRegressor

        samples = distinct_samples(self.space, genes, accuracy)
        rows = _plain_features(self.space, samples.genes)
        scaling = Scaling.of(samples)
        settings = self._settings
        trees: list[FloatArray] = []
        held_out = HeldOut.empty(len(rows))
        for chosen in subsamples(len(rows), settings.members, self._seed):
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
            for chunk in chunks(genes)
        ]
        return mean_and_std(by_chunk, state["scaling"], len(members))

    def state(self) -> PredictorState:
        """Return the fitted arrays; see `StorablePredictor`."""
        return require_fitted(self._state, self.kind)

    def restore(self, state: PredictorState) -> None:
        """Take over what `state` returned."""
        self._state = dict(state)


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
