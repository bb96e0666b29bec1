import numpy as np
import pytest

from ofa_pipeline.latency.measurement import median_interval


def test_interval_covers_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        interval = median_interval(rng.exponential(size=40))
        covered += interval.low <= np.log(2) <= interval.high
    assert covered / 400 >= 0.93


def test_interval_narrows_with_more_values():
    rng = np.random.default_rng(0)
    few, many = (median_interval(rng.normal(10, 1, size)) for size in (20, 500))
    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize("values", [[3.0], [1.0, 2.0], [1.0, 2.0, 3.0]])
def test_the_extremes_are_the_interval_of_a_handful_of_values(values):
    interval = median_interval(np.array(values))
    assert (interval.low, interval.high) == (min(values), max(values))
    assert interval.median == np.median(values)
