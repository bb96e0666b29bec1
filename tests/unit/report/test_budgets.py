"""A dearer budget has to earn its price."""

from dataclasses import replace

import numpy as np
import pytest

from ofa_pipeline.report.budgets import Gain, needless_budgets
from tests.support.report import BUDGETS_MS, page_of, sample_contents


def hits_of(subnets, shares):
    """Let each subnet be right on the first of a thousand images, so that they agree on most."""
    images = np.arange(1000)
    return {
        subnet.arch.arch_id: images < share * 1000
        for subnet, share in zip(subnets, shares, strict=True)
    }


@pytest.fixture
def subnets():
    return sample_contents().devices[0].subnets


def test_budgets_that_pay_are_not_listed(subnets):
    assert needless_budgets(subnets, hits_of(subnets, [0.80, 0.85, 0.90])) == ()


def test_budget_is_compared_with_the_cheapest_that_is_as_good(subnets):
    found = needless_budgets(subnets, hits_of(subnets, [0.80, 0.79, 0.80]))
    assert [(item.budget_ms, item.cheaper_ms) for item in found] == [
        (BUDGETS_MS[1], BUDGETS_MS[0]),
        (BUDGETS_MS[2], BUDGETS_MS[0]),
    ]


def test_gain_below_the_noise_is_none(subnets):
    [item] = needless_budgets(subnets[:2], hits_of(subnets[:2], [0.800, 0.803]))
    assert item.noise > 0.003
    assert needless_budgets(subnets[:2], hits_of(subnets[:2], [0.80, 0.81])) == ()


def test_one_subnet_for_two_budgets_is_said_to_be_the_same(subnets):
    subnet = replace(subnets[0], budgets_ms=(0.2, 0.4))
    [item] = needless_budgets([subnet], hits_of([subnet], [0.8]))
    assert item.is_same_subnet
    assert (item.budget_ms, item.cheaper_ms, item.noise) == (0.4, 0.2, 0.0)


def test_noise_of_a_difference_counts_where_the_subnets_disagree():
    one = np.array([True] * 60 + [False] * 40)
    other = np.array([False] * 10 + [True] * 70 + [False] * 20)
    gain = Gain.of(other, one)
    assert gain.points == pytest.approx(0.10)
    assert gain.noise == pytest.approx(1.96 * np.sqrt(30 - 100 / 100) / 100, rel=1e-3)


def test_page_says_where_a_dearer_budget_buys_nothing(subnets):
    contents = sample_contents()
    found = needless_budgets(subnets, hits_of(subnets, [0.8, 0.8, 0.9]))
    device = replace(contents.devices[0], needless_budgets=found)
    page = page_of(replace(contents, devices=(device, *contents.devices[1:])))
    assert "On cpu-onnxruntime 0.31&nbsp;ms buys nothing over 0.21&nbsp;ms" in page
    assert "buys nothing" not in page_of(contents)
