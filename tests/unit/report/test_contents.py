import math

import pytest
from scipy.stats import binomtest

from ofa_pipeline.report.contents import proportion_interval
from tests.support.report import sample_contents


@pytest.mark.parametrize("hits", [1, 50, 90, 100])
def test_interval_of_a_proportion_agrees_with_scipy(hits):
    expected = binomtest(hits, 100).proportion_ci(method="wilson")
    interval = proportion_interval(hits / 100, count=100)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_interval_of_a_proportion_stays_between_0_and_1(share):
    interval = proportion_interval(share, count=10)
    assert 0.0 <= interval.low < interval.high <= 1.0
    assert interval.low - 1e-9 <= share <= interval.high + 1e-9


def test_best_subnet_has_the_highest_accuracy_and_of_equals_the_lower_latency():
    contents = sample_contents()
    assert contents.best.accuracy_top1 == max(s.accuracy_top1 for s in contents.subnets)
    assert contents.best.device == "cpu-onnxruntime"


def test_errors_of_a_latency_model_count_held_out_subnets_only():
    latency = sample_contents().devices[0].latency
    assert len(latency.errors()) == 10
    assert latency.share_within(1.0) == 1.0
    assert latency.share_within(0.0) < 1.0


def test_share_within_is_not_a_number_without_subnets():
    assert math.isnan(sample_contents().devices[0].latency.share_within(0.1, role="none"))


def test_budget_share_refers_to_the_smallest_budget():
    subnet = sample_contents().devices[0].subnets[0]
    assert subnet.budget_share == pytest.approx(0.96)
