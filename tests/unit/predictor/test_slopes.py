import itertools

import numpy as np
import pytest

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.predictor import (
    DifferentiablePredictor,
    MlpEnsemble,
    MlpSettings,
    OfficialPredictor,
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


def official(space, *, seed=0):
    """Return a predictor of the published layout with random weights: no inputs for depths."""
    rng = np.random.default_rng(seed)
    begin = space.columns["kernel_size"].start
    inputs = np.full(space.num_genes, -1.0)
    counts = space.num_choices[begin:]
    inputs[begin:] = np.concatenate([[0], np.cumsum(counts)[:-1]])
    size = int(counts.sum())
    resolutions = size + np.arange(len(space.resolutions_px))
    widths = [size + len(resolutions), 80, 60, 1]
    predictor = OfficialPredictor(space)
    predictor.restore(
        {
            **{f"weight_{i}": rng.normal(0, 0.3, (widths[i + 1], widths[i])) for i in range(3)},
            **{f"bias_{i}": rng.normal(0, 0.3, widths[i + 1]) for i in range(3)},
            "inputs": inputs,
            "resolution_inputs": resolutions.astype(np.float64),
        }
    )
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
    for predictor in (ensemble, official(space)):
        np.testing.assert_array_equal(predictor.trace(genes).mean, predictor.predict(genes)[0])


def test_slopes_of_an_ensemble_are_its_derivatives_by_choice(space, ensemble, monkeypatch):
    genes = space.sample(np.random.default_rng(2), 6)
    chosen = np.array([4, 0])
    slopes = ensemble.trace(genes).slopes(chosen)
    features, by_choice = one_hot_features(space, genes), one_hot_feature_slopes(space)
    module = "ofa_pipeline.predictor.ensemble.one_hot_features"
    mean = ensemble.predict(genes)[0]
    for choice in range(slopes.shape[1]):
        moved = features + STEP * by_choice[choice]
        monkeypatch.setattr(module, lambda *_, moved=moved: moved)
        difference = (ensemble.predict(genes)[0] - mean) / STEP
        np.testing.assert_allclose(slopes[:, choice], difference[chosen], atol=1e-6)


def test_slopes_of_the_official_predictor_foretell_small_changes(space):
    predictor = official(space)
    genes = space.sample(np.random.default_rng(3), 40)
    slopes = predictor.trace(genes).slopes(np.arange(40))
    mean = predictor.predict(genes)[0]
    starts = np.concatenate([[0], np.cumsum(space.num_choices)])
    runs = space.active_blocks(genes)
    foretold, happened = [], []
    for slot in range(space.num_blocks):
        gene = space.columns["kernel_size"].start + slot
        rows = np.flatnonzero(runs[:, slot])
        changed = genes[rows].copy()
        changed[:, gene] = (changed[:, gene] + 1) % space.num_choices[gene]
        by_choice = slopes[rows][:, starts[gene] : starts[gene + 1]]
        own = np.arange(len(rows))
        foretold.append(by_choice[own, changed[:, gene]] - by_choice[own, genes[rows, gene]])
        happened.append(predictor.predict(changed)[0] - mean[rows])
    agreement = np.corrcoef(np.concatenate(foretold), np.concatenate(happened))[0, 1]
    assert agreement > 0.9
    depths = slice(starts[space.columns["depth"].start], starts[space.columns["depth"].stop])
    assert not slopes[:, depths].any()


def test_slopes_of_a_skipped_block_are_what_it_adds_once_it_runs(space):
    """Where no unit changes sides, the estimate is exact."""
    predictor = official(space)
    state = dict(predictor.state())
    for name in ("bias_0", "bias_1"):
        state[name] = state[name] + 100  # every unit stays on
    predictor.restore(state)
    smallest = space.genes([space.smallest])
    slopes = predictor.trace(smallest).slopes(np.array([0]))[0]
    deeper = smallest.copy()
    deeper[0, space.columns["depth"].start] += 1
    slot = space.block_groups[0].depths[0]
    starts = np.concatenate([[0], np.cumsum(space.num_choices)])
    added = sum(
        slopes[starts[space.columns[name].start + slot]] for name in ("kernel_size", "expand_ratio")
    )
    both = predictor.predict(np.concatenate([smallest, deeper]))[0]
    assert both[1] - both[0] == pytest.approx(added, rel=1e-3)


def test_predictors_tell_whether_they_have_slopes(space, ensemble):
    assert isinstance(ensemble, DifferentiablePredictor)
    assert isinstance(official(space), DifferentiablePredictor)
    assert not isinstance(Ridge(space), DifferentiablePredictor)


def test_an_unfitted_ensemble_has_no_trace(space):
    with pytest.raises(ParamsError, match="must be fitted"):
        MlpEnsemble(space).trace(space.genes([space.smallest]))
