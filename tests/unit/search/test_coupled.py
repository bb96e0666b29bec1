"""In a coupled space all that is drawn, proposed or found has the ratios of its depths."""

from dataclasses import replace

import numpy as np
import pytest

from ofa_pipeline.evaluation.design import initial_design
from ofa_pipeline.latency.design import design_subnets
from ofa_pipeline.predictor import Ridge, build_predictor
from ofa_pipeline.search import Estimates, EvolutionSettings, Scored, search_guided
from ofa_pipeline.search.samplers import build_sampler, sampler_names
from ofa_pipeline.search.sampling import Known, Request
from tests.support.synthetic import (
    RuggedAccuracy,
    labeled_sample,
    small_space,
    true_latency_ms,
)

SPACE = replace(small_space(num_groups=2), is_coupled=True)
QUICK = EvolutionSettings(
    population=64, generations=5, patience=3, elite=16, islands=1, filler_niches=4
)


def latency_ms(genes):
    return true_latency_ms(SPACE, genes)


def assert_inside(genes):
    np.testing.assert_array_equal(SPACE.genes(SPACE.archs(genes)), genes)


def test_what_is_evaluated_and_measured_first_is_inside():
    assert_inside(initial_design(SPACE, num_archs=40, num_classes=10, seed=0))
    for genes in design_subnets(SPACE, num_classes=10, num_subnets=20, num_holdout=20, seed=0):
        assert_inside(genes)


@pytest.mark.parametrize("kind", ["ridge", "kernel_ridge", "gradient_boosting"])
def test_predictors_learn_the_space(kind):
    predictor = build_predictor(SPACE, kind, seed=0)
    predictor.fit(*labeled_sample(SPACE, 100, seed=0))
    genes, accuracy = labeled_sample(SPACE, 100, seed=1)
    assert np.corrcoef(predictor.predict(genes)[0], accuracy)[0, 1] > 0.9


def test_sums_are_searched_exactly():
    ridge = Ridge(SPACE)
    ridge.fit(*labeled_sample(SPACE, 80, seed=0))
    estimates = Estimates(SPACE, ridge.predict, latency_ms)
    guided = search_guided(estimates, budgets_ms=[0.4, 0.7], settings=QUICK)
    assert guided.gaps is not None
    assert max(guided.gaps) < 1e-4
    every = np.unique(SPACE.sample(np.random.default_rng(0), 30_000), axis=0)
    gains, costs = ridge.predict(every)[0], latency_ms(every)
    for finding, budget in zip(guided.result.findings, (0.4, 0.7), strict=True):
        assert_inside(finding.best.genes)
        assert finding.best.gain[0] == pytest.approx(gains[costs <= budget].max(), abs=1e-4)


def test_slopes_lead_nobody_out():
    rugged = RuggedAccuracy(SPACE)
    estimates = Estimates(SPACE, rugged.predict, latency_ms, trace=rugged.trace)
    guided = search_guided(estimates, budgets_ms=[0.5], settings=QUICK)
    assert_inside(guided.result.findings[0].best.genes)
    assert_inside(guided.result.front.genes)


@pytest.mark.parametrize("name", sampler_names())
def test_every_sampler_proposes_what_is_inside(name):
    genes, accuracy = labeled_sample(SPACE, 40, seed=0)
    ridge = Ridge(SPACE)
    ridge.fit(genes, accuracy)
    within = genes[latency_ms(genes) <= 0.6]
    request = Request(
        limit_ms=0.6,
        count=3,
        taken=frozenset(),
        estimates=Estimates(SPACE, ridge.predict, latency_ms),
        candidates=Scored(within, ridge.predict(within)[0], latency_ms(within)[:, None]),
        known=Known(genes=genes, accuracy=accuracy, latency_ms=latency_ms(genes)),
        fastest=SPACE.smallest,
        seed=0,
    )
    proposals = build_sampler(name).propose(request)
    assert proposals
    for proposal in proposals:
        SPACE.check(proposal.arch)
