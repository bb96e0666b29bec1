import pytest

from ofa_pipeline.cost import finetuning_epochs, round_lengths


@pytest.mark.parametrize(("trained", "epochs"), [(1, 1), (3, 1), (15, 5), (16, 6)])
def test_fine_tuning_has_a_third_of_the_epochs_of_the_supernet(trained, epochs):
    assert finetuning_epochs(trained) == epochs


@pytest.mark.parametrize(
    ("epochs", "lengths"), [(0, ()), (1, (1,)), (5, (5,)), (6, (3, 3)), (7, (4, 3)), (25, (13, 12))]
)
def test_enough_epochs_are_two_rounds(epochs, lengths):
    assert round_lengths(epochs) == lengths
