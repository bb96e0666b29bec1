import numpy as np
import pytest

from ofa_pipeline.predictor import DifferentiablePredictor, Perceptron
from ofa_pipeline.reference.official_predictor import OfficialPredictor
from tests.support.synthetic import small_space


@pytest.fixture(scope="module")
def space():
    return small_space()


def official(space, *, seed=0, on=0.0):
    """Return a predictor of the published layout with random weights: no inputs for depths.

    ``on`` is added to the biases of the hidden units.
    """
    rng = np.random.default_rng(seed)
    begin = space.columns["kernel_size"].start
    inputs = np.full(space.num_genes, -1)
    counts = space.num_choices[begin:]
    inputs[begin:] = np.concatenate([[0], np.cumsum(counts)[:-1]])
    size = int(counts.sum())
    resolutions = size + np.arange(len(space.resolutions_px))
    widths = [size + len(resolutions), 80, 60, 1]
    weights = [rng.normal(0, 0.3, (widths[i + 1], widths[i])).T for i in range(3)]
    biases = [rng.normal(0, 0.3, widths[i + 1]) for i in range(3)]
    perceptron = Perceptron(
        [np.ascontiguousarray(weight, dtype=np.float32) for weight in weights],
        [
            bias.astype(np.float32) + np.float32(place < 2) * np.float32(on)
            for place, bias in enumerate(biases)
        ],
    )
    return OfficialPredictor(space, perceptron, inputs=inputs, resolution_inputs=resolutions)


def test_a_trace_has_the_predicted_means(space):
    predictor, genes = official(space), space.sample(np.random.default_rng(1), 30)
    assert isinstance(predictor, DifferentiablePredictor)
    np.testing.assert_array_equal(predictor.trace(genes).mean, predictor.predict(genes)[0])


def test_slopes_foretell_small_changes(space):
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
    predictor = official(space, on=100)  # so much that every unit stays on
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
