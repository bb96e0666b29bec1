import pytest

from ofa_pipeline.data import Normalization


def test_lists_of_a_document_become_three_numbers_each():
    found = Normalization.of([0, 0.5, 1], (1, 0.25, 0.5))
    assert found == Normalization(mean=(0.0, 0.5, 1.0), std=(1.0, 0.25, 0.5))
    assert all(isinstance(value, float) for value in (*found.mean, *found.std))


@pytest.mark.parametrize("values", [[0.5], [0.5] * 4])
def test_other_than_three_channels_are_refused(values):
    with pytest.raises(ValueError, match="unpack"):
        Normalization.of(values, [0.5] * 3)
