"""One rule answers every question, the same as going through all subnets by hand."""

import random

import pytest

from ofa_pipeline.errors import InfeasibleConstraintError, RegistryError
from ofa_pipeline.registry import ComparableSubnets, LatencyFigures, Question, RegisteredSubnet
from ofa_pipeline.registry.answers import comparison_answer
from tests.support.registry import latency_figures, subnet_record


def subnet(version=1, **figures):
    return RegisteredSubnet(record=subnet_record(**figures), version=version)


def of_latency(p50_ms, p95_ms, **figures):
    """Return a subnet with two quantiles, of 100 calls."""
    latency = LatencyFigures(
        p50_ms=p50_ms, p95_ms=p95_ms, ci_low_ms=p50_ms, ci_high_ms=1.1 * p50_ms, num_runs=100
    )
    return subnet(latency={"cpu": latency}, **figures)


@pytest.fixture
def many():
    draw = random.Random(0)
    return [
        subnet(
            version,
            accuracy=draw.choice([0.7, 0.8, 0.9, 0.95]),
            latency_ms=draw.choice([1.0, 2.0, 3.0, 4.0, 5.0]),
            num_bytes=draw.choice([100, 200]),
        )
        for version in range(1, 60)
    ]


@pytest.mark.parametrize("limit_ms", [1.0, 2.5, 9.0])
@pytest.mark.parametrize("size", [None, 150])
def test_best_and_runner_up_are_first_and_second_of_all_within(many, limit_ms, size):
    question = Question(max_latency_ms=limit_ms, max_size_bytes=size, min_accuracy=0.7)
    within = [
        item
        for item in many
        if item.record.latency_ms <= limit_ms and item.record.size_bytes <= (size or 1000)
    ]
    order = sorted(
        within,
        key=lambda item: (-item.record.accuracy_top1, item.record.latency_ms, item.version),
    )
    subnets = ComparableSubnets(many, device="cpu")
    assert [subnets.best(question), subnets.runner_up(question)] == order[:2]


def test_front_holds_just_what_nothing_dominates(many):
    front = ComparableSubnets(many, device="cpu").front()

    def dominated(item):
        mine = item.record
        return any(
            other.record.latency_ms <= mine.latency_ms
            and other.record.accuracy_top1 >= mine.accuracy_top1
            and (other.record.latency_ms, -other.record.accuracy_top1)
            != (mine.latency_ms, -mine.accuracy_top1)
            for other in many
        )

    figures = {(item.record.latency_ms, item.record.accuracy_top1) for item in front}
    assert figures == {
        (item.record.latency_ms, item.record.accuracy_top1) for item in many if not dominated(item)
    }
    assert len(front) == len(figures)


def test_quantile_and_verdict_decide_what_is_within():
    steady = of_latency(1.0, 1.1, accuracy=0.8)
    jumpy = of_latency(0.9, 3.0, accuracy=0.9, version=2)
    subnets = ComparableSubnets([steady, jumpy], device="cpu")
    assert subnets.best(Question(max_latency_ms=2)) == jumpy
    assert subnets.best(Question(max_latency_ms=2, quantile="p95")) == steady
    assert subnets.best(Question(max_latency_ms=0.95)) == jumpy
    assert subnets.best(Question(max_latency_ms=0.95, verdict="within")) is None
    assert subnets.best(Question(max_latency_ms=1.11, quantile="p95")) == steady
    sure = Question(max_latency_ms=1.11, quantile="p95", verdict="within")
    assert subnets.best(sure) is None
    with pytest.raises(InfeasibleConstraintError, match=r"p95_ms <= 1\.11 with 95 % confidence"):
        raise subnets.infeasible(sure)
    assert subnets.front("p95") == (steady, jumpy)


def test_more_calls_narrow_the_interval_of_the_slow_ones():
    few = LatencyFigures(p50_ms=1, p95_ms=1.5, ci_low_ms=1, ci_high_ms=1, num_runs=50)
    many = few.model_copy(update={"num_runs": 5000})
    assert few.high_ms("p95") > many.high_ms("p95") > 1.5
    # 1.96 standard errors of 2.113 * ln(1.5) / 1.645 / sqrt(50), of the logarithm.
    assert few.high_ms("p95") == pytest.approx(1.5 * 1.1553, rel=1e-3)
    assert [few.verdict(ms, quantile="p95") for ms in (1.4, 1.6, 2)] == [
        "over",
        "within_noise",
        "within",
    ]


def test_what_is_too_large_is_said_with_the_smallest_within_the_latency():
    subnets = ComparableSubnets(
        [subnet(latency_ms=1.0, num_bytes=2_000_000), subnet(2, latency_ms=5.0, num_bytes=5)],
        device=None,
    )
    question = Question(max_latency_ms=2, max_size_bytes=1_000_000)
    assert subnets.best(question) is None
    with pytest.raises(InfeasibleConstraintError, match=r"size <= 1 MB: the smallest .* 2 MB"):
        raise subnets.infeasible(question)


def test_size_that_is_not_known_is_that_of_the_parameters():
    assert subnet(num_params=100).record.size_bytes == 400


def test_small_gain_is_called_noise():
    subnets = ComparableSubnets(
        [subnet(accuracy=0.90), subnet(2, accuracy=0.92, latency_ms=2.0)], device="cpu"
    )
    found = subnets.explain(Question(max_latency_ms=1))
    assert found.is_gain_noise  # 100 images: 3 points are one standard error
    assert found.noise_points == pytest.approx(3)
    assert found.runner_up is None


def test_difference_is_against_the_first():
    answer = comparison_answer(
        [subnet(accuracy=0.8), subnet(2, accuracy=0.9, latency_ms=3.0, num_bytes=800)]
    )
    [change] = answer.differences
    assert change.accuracy_points == pytest.approx(10)
    assert (change.latency_ratio, change.size_ratio) == ({"cpu": 3.0}, 2.0)
    assert not change.is_within_noise


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ({"max_latency_ms": 0}, "max_latency_ms must be a number above 0, got 0"),
        ({"max_latency_ms": -1}, "above 0"),
        ({"max_latency_ms": float("nan")}, "must be a number, got nan"),
        ({"min_accuracy": 89}, "min_accuracy must be a fraction from 0 to 1, got 89"),
        ({"min_accuracy": -0.1}, "a fraction"),
        ({"max_size_bytes": 0}, "max_size_bytes"),
        ({"quantile": "p99"}, "quantile must be one of p50, p95, got 'p99'"),
        ({"verdict": "sure", "max_latency_ms": 1}, "verdict must be one of within, within_noise"),
        ({"verdict": "within"}, "give max_latency_ms, too"),
        ({"device": "a`b"}, "must be a name"),
    ],
)
def test_question_that_nothing_could_answer_is_refused(bounds, told):
    with pytest.raises(RegistryError, match=told):
        Question(**bounds)


def test_accuracy_of_zero_is_a_bound_like_any_other():
    assert Question(min_accuracy=0).text == "accuracy_top1 >= 0"
    assert latency_figures(1.0).value_ms("p95") == 1.2
