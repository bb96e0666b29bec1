import pytest

from ofa_pipeline.cost import epochs_by_cost, round_lengths


@pytest.mark.parametrize(
    ("macs", "trained", "epochs"),
    [
        (600, 24, 4),  # the largest itself: a sixth
        (200, 24, 8),  # 4 x 600 / (3 x 200 + 600) = 2 times as many
        (0, 24, 16),
        (600, 5, 1),  # never none
        (0, 1, 1),  # nor more than the supernet had
    ],
)
def test_small_subnets_have_more_epochs_for_the_same_cost(macs, trained, epochs):
    assert epochs_by_cost(macs, largest_macs=600, trained_epochs=trained) == epochs


@pytest.mark.parametrize(
    ("epochs", "lengths"), [(0, ()), (1, (1,)), (5, (5,)), (6, (3, 3)), (7, (4, 3)), (25, (13, 12))]
)
def test_enough_epochs_are_two_rounds(epochs, lengths):
    assert round_lengths(epochs) == lengths
