from dataclasses import replace

import numpy as np

from ofa_pipeline.predictor import Ridge
from ofa_pipeline.search import Estimates, EvolutionSettings, search_guided
from tests.support.synthetic import labeled_sample, small_space, true_accuracy, true_latency_ms

QUICK = EvolutionSettings(
    population=64, generations=5, patience=3, elite=16, islands=0, filler_niches=4
)


def test_sums_are_searched_exactly_and_the_gap_is_proved():
    space = small_space(num_groups=2)
    ridge = Ridge(space)
    ridge.fit(*labeled_sample(space, 80, seed=0))
    estimates = Estimates(space, ridge.predict, lambda genes: true_latency_ms(space, genes))
    guided = search_guided(estimates, budgets_ms=[0.6, 1.0], settings=QUICK)
    assert guided.gaps is not None
    assert max(guided.gaps) < 1e-4


def test_nothing_is_proved_where_the_accuracy_is_no_sum():
    space = small_space(num_groups=2)
    estimates = Estimates(
        space,
        lambda genes: (true_accuracy(space, genes), np.zeros(len(genes))),
        lambda genes: true_latency_ms(space, genes),
    )
    guided = search_guided(estimates, budgets_ms=[0.6], settings=replace(QUICK, seed=1))
    assert guided.gaps is None
    assert guided.result.findings[0].best.costs[0, 0] <= 0.6
