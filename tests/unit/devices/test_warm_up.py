import pytest

from ofa_pipeline.devices.warm_up import FASTER, MAX_WARM_UP, warm_up


class Clock:
    """A clock that calls of given lengths move; the last length goes on."""

    def __init__(self, lengths_ms):
        self.lengths_ms = list(lengths_ms)
        self.num_calls = 0
        self.now_ns = 0

    def call(self):
        self.now_ns += round(1e6 * self.lengths_ms[min(self.num_calls, len(self.lengths_ms) - 1)])
        self.num_calls += 1


def warmed(lengths_ms, *, calls=5):
    clock = Clock(lengths_ms)
    return warm_up(clock.call, calls=calls, wall_ns=lambda: clock.now_ns), clock.num_calls


def test_a_network_that_is_as_fast_at_once_takes_the_calls_and_one_more():
    assert warmed([2.0]) == ((2.0, True), 6)


def test_it_goes_on_until_nothing_gets_faster():
    found, num_calls = warmed([9.0, 5.0, 3.0, 2.0, 1.5, 1.0])
    assert found == (1.0, True)
    assert num_calls == 6 + 5


def test_small_gains_are_noise():
    found, num_calls = warmed([1.0, 1.0 - FASTER / 2, 1.0, 1.0 - FASTER / 2, 1.0, 1.0])
    assert num_calls == 6
    assert found == pytest.approx((1.0 - FASTER / 2, True))


def test_a_disturbed_call_begins_nothing_anew():
    assert warmed([1.0, 30.0, 1.0, 30.0, 1.0, 1.0]) == ((1.0, True), 6)


def test_it_ends_and_says_so_where_calls_never_stop_getting_faster():
    (fastest_ms, is_warm), num_calls = warmed([0.9**call for call in range(200)])
    assert not is_warm
    assert num_calls == MAX_WARM_UP * 5
    assert fastest_ms == pytest.approx(0.9**49, rel=1e-3)
