import itertools

import numpy as np
import pytest

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.predictor import (
    DifferentiablePredictor,
    MlpEnsemble,
    MlpSettings,
    Ridge,
    one_hot_features,
)
from ofa_pipeline.predictor.features import one_hot_feature_slopes
from ofa_pipeline.predictor.perceptron import Perceptron
from tests.support.synthetic import labeled_sample, small_space

STEP = 1e-6


@pytest.fixture(scope="module")
def space():
    return small_space()


@pytest.fixture(scope="module")
def ensemble(space):
    settings = MlpSettings(width=16, epochs=30, members=3)
    predictor = MlpEnsemble(space, settings=settings)
    predictor.fit(*labeled_sample(space, 80, seed=0))
    return predictor


def test_slopes_of_a_perceptron_are_its_derivatives():
    rng = np.random.default_rng(0)
    widths = [5, 7, 6, 1]
    perceptron = Perceptron(
        [rng.normal(size=(a, b)) for a, b in itertools.pairwise(widths)],
        [rng.normal(size=b) for b in widths[1:]],
    )
    rows = rng.normal(size=(4, 5))
    ran = perceptron(rows)
    chosen = np.array([3, 1])
    slopes = perceptron.slopes(ran, chosen) @ perceptron.weights[0].T
    for place in range(5):
        moved = rows.copy()
        moved[:, place] += STEP
        difference = (perceptron(moved).output - ran.output) / STEP
        np.testing.assert_allclose(slopes[:, place], difference[chosen], atol=1e-5)


def test_one_hot_features_are_a_sum_over_choices(space):
    genes = space.sample(np.random.default_rng(0), 20)
    expected = space.one_hot(genes) @ one_hot_feature_slopes(space)
    np.testing.assert_allclose(one_hot_features(space, genes), expected)


def test_a_trace_has_the_predicted_means(space, ensemble):
    genes = space.sample(np.random.default_rng(1), 30)
    np.testing.assert_array_equal(ensemble.trace(genes).mean, ensemble.predict(genes)[0])


def test_slopes_of_an_ensemble_are_its_derivatives_by_choice(space, ensemble, monkeypatch):
    genes = space.sample(np.random.default_rng(2), 6)
    chosen = np.array([4, 0])
    slopes = ensemble.trace(genes).slopes(chosen)
    features, by_choice = one_hot_features(space, genes), one_hot_feature_slopes(space)
    module = "ofa_pipeline.predictor.kinds.mlp_ensemble.one_hot_features"
    mean = ensemble.predict(genes)[0]
    for choice in range(slopes.shape[1]):
        moved = features + STEP * by_choice[choice]
        monkeypatch.setattr(module, lambda *_, moved=moved: moved)
        difference = (ensemble.predict(genes)[0] - mean) / STEP
        np.testing.assert_allclose(slopes[:, choice], difference[chosen], atol=1e-6)


def test_predictors_tell_whether_they_have_slopes(space, ensemble):
    assert isinstance(ensemble, DifferentiablePredictor)
    assert not isinstance(Ridge(space), DifferentiablePredictor)


def test_an_unfitted_ensemble_has_no_trace(space):
    with pytest.raises(ParamsError, match="must be fitted"):
        MlpEnsemble(space).trace(space.genes([space.smallest]))
