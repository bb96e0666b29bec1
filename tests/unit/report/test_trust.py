import math
from dataclasses import replace

import pytest

from ofa_pipeline.report.contents import Interval, proportion_interval
from ofa_pipeline.report.trust import Finding, judge_pick, judge_run, worst
from ofa_pipeline.run_warnings import RunWarning
from tests.support.report import sample_contents, sample_cost


@pytest.fixture(scope="module")
def contents():
    return sample_contents()


def judged(contents, *, chance=0.1, device=None, **changes):
    """Return the findings of the first pick, changed, by what they are about."""
    device = device or contents.devices[0]
    subnet = replace(device.subnets[0], **changes)
    budget_ms = subnet.budgets_ms[0]
    findings = judge_pick(subnet, device, budget_ms=budget_ms, chance=chance)
    return {finding.about: finding for finding in findings}


def run_findings(contents):
    return {finding.about: finding for finding in judge_run(contents)}


def accuracy(share, *, count=2640):
    interval = proportion_interval(share, count=count)
    return {"accuracy_top1": share, "accuracy_interval": interval, "num_test_images": count}


@pytest.mark.parametrize(
    ("share", "chance", "level"),
    [
        (0.87, 0.1, "good"),
        (0.55, 0.1, "good"),
        (0.54, 0.1, "care"),
        (0.347, 0.2, "poor"),
        (0.21, 0.2, "poor"),
        (0.91, 0.9, "poor"),
        (1.0, 1.0, "poor"),
        (0.87, None, "unknown"),
    ],
)
def test_accuracy_is_judged_by_its_way_from_guessing_to_no_error(contents, share, chance, level):
    assert judged(contents, chance=chance, **accuracy(share))["accuracy"].level == level


def test_accuracy_at_chance_says_so_and_one_of_few_images_is_not_certain(contents):
    found = judged(contents, chance=0.2, **accuracy(0.3, count=30))
    assert "cannot be told from guessing" in found["accuracy"].text
    assert found["certainty"].level == "poor"


@pytest.mark.parametrize(("count", "level"), [(2640, "good"), (400, "care"), (30, "poor")])
def test_accuracy_of_fewer_images_is_less_certain(contents, count, level):
    assert judged(contents, **accuracy(0.87, count=count))["certainty"].level == level


@pytest.mark.parametrize(
    ("verdict", "level"), [("within", "good"), ("within_noise", "care"), ("over", "poor")]
)
def test_median_call_is_judged_by_the_verdict_of_its_budget(contents, verdict, level):
    found = judged(contents, verdict="within", verdicts={contents.devices[0].served[0][0]: verdict})
    assert found["p50"].level == level


def test_slow_calls_over_the_budget_are_not_plain_good(contents):
    budget_ms, _ = contents.devices[0].served[0]
    assert judged(contents, p95_ms=budget_ms)["p95"].level == "good"
    found = judged(contents, p95_ms=1.4 * budget_ms)["p95"]
    assert found.level == "care"
    assert "140 % of the budget" in found.text


def test_busy_or_noisy_machine_asks_for_care(contents):
    assert judged(contents)["machine"].level == "good"
    assert judged(contents, is_contended=True)["machine"].level == "care"
    for noise in (0.2, math.nan):
        device = contents.devices[0]
        noisy = replace(device, latency=replace(device.latency, noise_cv=noise))
        assert judged(contents, device=noisy)["machine"].level == "care"


def test_file_that_answers_otherwise_than_the_network_asks_for_care(contents):
    assert judged(contents, parity_top1_agreement=0.99)["file"].level == "care"


def test_every_finding_says_its_rule(contents):
    findings = [*judged(contents).values(), *judge_run(contents)]
    assert all(finding.rule and finding.text for finding in findings)


def test_warning_asks_for_care(contents):
    warned = replace(contents, warnings=(RunWarning(stage="search", message="Odd."),))
    assert run_findings(contents)["run"].level == "good"
    assert run_findings(warned)["run"].level == "care"


@pytest.mark.parametrize("tau", [0.17, -0.1, math.nan])
def test_predictor_that_ranks_badly_asks_for_care(contents, tau):
    predictor = replace(contents.predictor, kendall_tau=tau)
    assert run_findings(contents)["choice"].level == "good"
    assert run_findings(replace(contents, predictor=predictor))["choice"].level == "care"


def test_predictor_that_orders_by_lot_is_called_chance(contents):
    measured = contents.predictor.measured
    predictor = replace(contents.predictor, predicted=measured[1::2] + measured[::2])
    assert "chance (" in run_findings(replace(contents, predictor=predictor))["choice"].text


def test_first_phase_that_was_better_asks_for_care(contents):
    known = replace(contents, first_phase_top1=0.8)
    figures = {"accuracy_top1_first_phase": 0.8}
    warning = RunWarning(stage="specialize", item="a", message="Worse.", figures=figures)
    assert run_findings(contents)["training"].level == "unknown"
    assert run_findings(known)["training"].level == "good"
    assert run_findings(replace(known, warnings=(warning,)))["training"].level == "care"


def test_comparison_with_training_alone_decides_only_where_it_was_made(contents):
    about = "against training alone"
    assert run_findings(contents)[about].level == "unknown"
    cost = sample_cost(is_measured=True)
    assert run_findings(replace(contents, cost=cost))[about].level == "good"
    lesser = replace(cost.measured[0], accuracy_top1_finetuned=0.5)
    cost = replace(cost, measured=(lesser, *cost.measured[1:]))
    found = run_findings(replace(contents, cost=cost))[about]
    assert found.level == "care"
    assert "1 of 6 subnets is measurably less accurate" in found.text


def test_worst_finding_decides_and_what_is_unknown_does_not():
    def finding(level):
        return Finding(about="x", level=level, text="", rule="")

    assert worst([finding("unknown"), finding("good")]) == "good"
    assert worst([finding("care"), finding("good")]) == "care"
    assert worst([finding("poor"), finding("care")]) == "poor"
    assert worst([]) == "good"


def test_interval_decides_certainty_not_the_count(contents):
    interval = Interval(low=0.86, high=0.88)
    found = judged(contents, accuracy_interval=interval, num_test_images=10)
    assert found["certainty"].level == "good"
