from dataclasses import dataclass

import numpy as np
import pytest

from ofa_pipeline.errors import InfeasibleConstraintError
from ofa_pipeline.predictor import build_predictor
from ofa_pipeline.search import (
    EvolutionSettings,
    Knowledge,
    VerifySettings,
    predict_verify_refit,
)
from ofa_pipeline.search.samplers import build_sampler
from tests.support.synthetic import (
    labeled_sample,
    small_space,
    true_accuracy,
    true_latency_ms,
)

QUICK = EvolutionSettings(
    population=64, generations=12, patience=4, elite=32, islands=0, filler_niches=4
)
BUDGETS_MS = (0.8, 1.2)


@dataclass(frozen=True)
class FakeMeasurement:
    p50_ms: float
    ci_high_ms: float


class World:
    """Real accuracy and latency; the device is slower than its model says."""

    def __init__(self, space, *, slowdown=1.0, noise=0.0):
        self.space = space
        self.slowdown = slowdown
        self.rng = np.random.default_rng(0)
        self.noise = noise
        self.asked = []

    def evaluate(self, archs, *, label):
        self.asked += [arch.arch_id for arch in archs]
        return true_accuracy(self.space, self.space.genes(archs)).tolist()

    def measure(self, archs, *, label):
        latency = true_latency_ms(self.space, self.space.genes(archs)) * self.slowdown
        latency *= 1 + self.noise * self.rng.normal(size=len(archs))
        return [FakeMeasurement(value, value * 1.005) for value in latency.tolist()]


def verify(world, *, budgets_ms=BUDGETS_MS, **changes):
    space = world.space
    genes, accuracy = labeled_sample(space, 40, seed=0)
    predictor = build_predictor(space, "kernel_ridge", seed=0)
    predictor.fit(genes, accuracy)
    settings = {"top_k": 4, "max_rounds": 3, "latency_margin": 0.03, "accuracy_noise": 0.0005}
    return predict_verify_refit(
        Knowledge(
            predictor=predictor,
            genes=genes,
            accuracy=accuracy,
            latency=lambda genes: true_latency_ms(space, genes),
        ),
        world,
        budgets_ms=budgets_ms,
        settings=VerifySettings(**{**settings, **changes}),
        search=QUICK,
    )


@pytest.fixture(scope="module")
def verified():
    world = World(small_space())
    return world, verify(world)


def test_picks_are_within_their_budgets_by_measurement(verified):
    _, result = verified
    assert [pick.budget_ms for pick in result.picks] == list(BUDGETS_MS)
    for pick in result.picks:
        assert pick.subnet.latency.p50_ms <= 0.97 * pick.budget_ms


def test_picks_beat_the_best_of_many_random_subnets(verified):
    world, result = verified
    genes = world.space.sample(np.random.default_rng(7), 500)
    accuracy = true_accuracy(world.space, genes)
    latency = true_latency_ms(world.space, genes)
    for pick in result.picks:
        assert pick.subnet.accuracy_top1 >= accuracy[latency <= 0.97 * pick.budget_ms].max()


def test_estimates_may_have_a_margin_of_their_own():
    result = verify(World(small_space()), max_rounds=1, estimate_margin=0.3)
    for subnet in result.verified:
        assert subnet.latency_ms_estimated <= 0.7 * BUDGETS_MS[-1] * (1 + 1e-9)


def test_no_subnet_is_verified_twice(verified):
    world, result = verified
    assert len(world.asked) == len(set(world.asked)) == len(result.verified)


def test_each_round_verifies_the_likely_and_the_uncertain(verified):
    _, result = verified
    assert {subnet.role for subnet in result.verified} == {"exploit", "explore"}
    first = [subnet for subnet in result.verified if subnet.round == 1]
    assert len(first) <= 4 * len(BUDGETS_MS)


def test_runners_up_are_ranked_and_ties_are_counted(verified):
    _, result = verified
    for pick in result.picks:
        accuracies = [subnet.accuracy_top1 for subnet in (pick.subnet, *pick.runners_up)]
        assert accuracies == sorted(accuracies, reverse=True)
        assert 0 <= pick.num_tied <= len(pick.runners_up)


def test_everything_is_tied_when_labels_are_all_noise():
    world = World(small_space())
    result = verify(world, accuracy_noise=1.0, max_rounds=1)
    for pick in result.picks:
        assert pick.num_tied == len(pick.runners_up) > 0


def test_a_device_slower_than_its_model_is_learned():
    world = World(small_space(), slowdown=1.3)
    result = verify(world)
    assert result.latency_correction == pytest.approx(1.3)
    for pick in result.picks:
        assert pick.subnet.latency.p50_ms <= 0.97 * pick.budget_ms


def test_noisy_measurements_still_end_with_picks_within_budget():
    result = verify(World(small_space(), slowdown=1.1, noise=0.02))
    for pick in result.picks:
        assert pick.subnet.latency.ci_high_ms <= pick.budget_ms


def test_rounds_are_bounded():
    result = verify(World(small_space()), max_rounds=1)
    assert result.num_rounds == 1
    assert not result.is_stable


def test_a_budget_that_no_measurement_meets_names_the_fastest_measured():
    world = World(small_space(), slowdown=50.0)
    with pytest.raises(InfeasibleConstraintError, match=r"fastest of .* measured takes"):
        verify(world, top_k=2)


def test_an_impossible_budget_is_refused_before_anything_is_measured():
    world = World(small_space())
    fastest = world.space.smallest.arch_id
    with pytest.raises(
        InfeasibleConstraintError, match=rf"takes .* ms by estimate .arch {fastest}"
    ):
        verify(world, budgets_ms=(0.1, 1.0))
    assert world.asked == []


def test_a_budget_just_at_the_fastest_subnet_is_decided_by_measurement():
    space = small_space()
    fastest_ms = float(true_latency_ms(space, space.genes([space.smallest]))[0])
    result = verify(World(space, slowdown=0.9), budgets_ms=(0.95 * fastest_ms, 1.0))
    assert result.picks[0].subnet.latency.p50_ms <= 0.97 * 0.95 * fastest_ms


def test_another_sampler_proposes_and_measurements_decide():
    world = World(small_space(), slowdown=1.1)
    result = verify(world, sampler=build_sampler("nsga2"))
    assert {subnet.role for subnet in result.verified} == {"exploit", "sample"}
    assert len(world.asked) == len(set(world.asked)) == len(result.verified)
    for pick in result.picks:
        assert pick.subnet.latency.p50_ms <= 0.97 * pick.budget_ms
