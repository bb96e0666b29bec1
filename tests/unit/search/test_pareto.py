import itertools

import numpy as np
import pytest

from ofa_pipeline.search.pareto import crowding_order, hypervolume, is_efficient


def brute_force(losses):
    efficient = []
    for index, point in enumerate(losses):
        others = np.delete(losses, index, axis=0)
        beaten = (others <= point).all(axis=1) & (others < point).any(axis=1)
        repeated = (losses[:index] == point).all(axis=1).any()
        efficient.append(not beaten.any() and not repeated)
    return np.array(efficient)


@pytest.mark.parametrize("num_objectives", [2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_front_is_what_nothing_beats(num_objectives, seed):
    losses = np.random.default_rng(seed).integers(0, 6, (80, num_objectives)).astype(float)
    found = losses[is_efficient(losses)]
    expected = losses[brute_force(losses)]
    np.testing.assert_array_equal(np.unique(found, axis=0), np.unique(expected, axis=0))
    assert len(found) == len(expected)


def test_the_front_of_many_points_needs_several_blocks():
    losses = np.random.default_rng(0).random((2000, 3))
    np.testing.assert_array_equal(is_efficient(losses), brute_force(losses))


def test_hypervolume_of_a_staircase_is_counted_by_hand():
    losses = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [5.0, 5.0]])
    assert hypervolume(losses, np.array([4.0, 4.0])) == pytest.approx(6.0)


@pytest.mark.parametrize("num_objectives", [1, 2, 3, 4])
def test_hypervolume_agrees_with_counting_cells(num_objectives):
    losses = np.random.default_rng(1).integers(0, 5, (12, num_objectives)).astype(float)
    cells = np.array(list(itertools.product(range(5), repeat=num_objectives)), dtype=float)
    dominated = (losses[None] <= cells[:, None]).all(axis=2).any(axis=1)
    assert hypervolume(losses, np.full(num_objectives, 5.0)) == pytest.approx(dominated.sum())


def test_points_beyond_the_reference_have_no_volume():
    assert hypervolume(np.array([[2.0, 2.0]]), np.array([1.0, 1.0])) == 0.0


def test_the_ends_of_a_front_are_kept_before_its_crowded_middle():
    losses = np.array([[0.0, 9.0], [4.0, 4.0], [4.1, 3.9], [4.2, 3.8], [9.0, 0.0]])
    assert set(crowding_order(losses)[:2]) == {0, 4}
    assert crowding_order(losses)[-1] == 2
