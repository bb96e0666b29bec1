import math

import pytest

from ofa_pipeline.report.contents import proportion_interval
from tests.support.report import sample_contents


@pytest.mark.parametrize(
    ("hits", "low", "high"),
    [
        (1, 0.001767432064140646, 0.054486196178705294),
        (50, 0.4038315303659957, 0.5961684696340043),
        (90, 0.8256343384950866, 0.9447708629393249),
        (100, 0.9630065017930143, 1.0),
    ],
)
def test_interval_of_a_proportion_is_that_of_wilson_s_formula(hits, low, high):
    interval = proportion_interval(hits / 100, count=100)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-9)


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
