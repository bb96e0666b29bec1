"""What a device measured again: how many files are within their budgets."""

from tests.support.documents import canary, recertification


def test_a_file_is_within_only_where_it_is_within_each_of_its_budgets():
    quick = canary(measured_ms=1.0, budgets_ms=(1.3, 2.0))
    slow_calls = canary(measured_ms=1.0, budgets_ms=(1.1, 2.0))
    slow = canary(measured_ms=1.0, budgets_ms=(0.9, 2.0))
    found = recertification(quick, slow_calls, slow)
    assert (found.num_within("p50"), found.num_within("p95")) == (2, 1)


def test_the_largest_change_keeps_its_sign():
    slower, faster = canary(measured_ms=1.02), canary(measured_ms=0.95)
    assert round(recertification(slower, faster).largest_change, 6) == -0.05
