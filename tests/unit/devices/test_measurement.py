import numpy as np
import pytest

from ofa_pipeline.devices.measurement import MIN_QUIET_VISITS, estimate_ratio

RATIO = 2.5


def visits(count, *, slow_share, noise, seed=0, slow=1.5):
    """Alternating visits to a machine that is slow for a while now and then."""
    rng = np.random.default_rng(seed)
    speed = np.where(rng.random((3, count)) < slow_share, slow, 1.0)
    network, before, after = speed * rng.normal(1, noise, (3, count))
    return RATIO * network, before, after


@pytest.mark.parametrize("slow_share", [0.0, 0.3, 0.7])
def test_the_ratio_is_that_of_the_quiet_machine(slow_share):
    network, before, after = visits(200, slow_share=slow_share, noise=0.01)
    ratio = estimate_ratio(network, before, after, quiet_ms=1.0)
    assert ratio.value == pytest.approx(RATIO, rel=0.01)
    assert not ratio.is_contended


def test_a_network_that_slows_down_more_than_the_reference_is_not_charged_for_it():
    rng = np.random.default_rng(0)
    is_slow = np.repeat(rng.random(40) < 0.5, 5)
    before = np.where(is_slow, 1.4, 1.0)
    network = np.where(is_slow, 1.8, 1.0) * RATIO
    ratio = estimate_ratio(network, before, before, quiet_ms=1.0)
    assert ratio.value == pytest.approx(RATIO)


def test_a_machine_that_is_never_quiet_gives_the_ratio_of_neighbors_and_says_so():
    network, before, after = (1.6 * v for v in visits(100, slow_share=0, noise=0.02))
    ratio = estimate_ratio(network, before, after, quiet_ms=1.0)
    assert ratio.num_quiet < MIN_QUIET_VISITS
    assert ratio.is_contended
    assert ratio.value == pytest.approx(RATIO, rel=0.02)


@pytest.mark.parametrize("slow_share", [0.0, 0.4])
def test_interval_covers_the_true_ratio_about_as_often_as_it_says(slow_share):
    covered = 0
    for seed in range(200):
        network, before, after = visits(100, slow_share=slow_share, noise=0.02, seed=seed)
        ratio = estimate_ratio(network, before, after, quiet_ms=1.0)
        covered += ratio.low <= RATIO <= ratio.high
    assert covered / 200 >= 0.88


def test_interval_narrows_with_more_visits():
    few, many = (
        estimate_ratio(*visits(count, slow_share=0.2, noise=0.03), quiet_ms=1.0)
        for count in (30, 600)
    )
    assert many.half_width < few.half_width


def test_the_same_visits_give_the_same_interval():
    given = visits(60, slow_share=0.2, noise=0.03)
    assert estimate_ratio(*given, quiet_ms=1.0) == estimate_ratio(*given, quiet_ms=1.0)


def test_a_single_visit_is_enough_for_a_value():
    one = np.array([1.0])
    ratio = estimate_ratio(RATIO * one, one, one, quiet_ms=1.0)
    assert (ratio.low, ratio.value, ratio.high) == (RATIO, RATIO, RATIO)


def test_figures_are_those_of_quantiles_taken_by_hand():
    network, before, after = visits(60, slow_share=0.4, noise=0.03)
    ratio = estimate_ratio(network, before, after, quiet_ms=1.0)
    found = (ratio.value, ratio.low, ratio.high)
    assert found == pytest.approx(
        (2.528551441588434, 2.4781672004357813, 2.5953106715357763), rel=1e-9
    )
