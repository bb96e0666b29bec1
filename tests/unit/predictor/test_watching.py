import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kendalltau

from ofa_pipeline.predictor import (
    LabelNoise,
    Ranking,
    cross_validate,
    labeled_subnets,
    watch_ranking,
)
from ofa_pipeline.predictor.watching import tau_noise
from ofa_pipeline.spaces import mobilenet_v3_small_images

GOOD = Ranking(
    tau=0.8,
    tau_noise=tau_noise(100),
    spread=0.02,
    label_noise=LabelNoise(std=0.002, degrees=10),
    num_subnets=100,
    num_folds=10,
)


def test_noise_of_tau_is_that_of_all_orders():
    taus = [kendalltau(range(6), order).statistic for order in itertools.permutations(range(6))]
    assert tau_noise(6) == pytest.approx(np.std(taus))


@pytest.mark.parametrize(
    ("tau", "num_subnets", "warns"),
    [
        (0.8, 100, False),
        (0.14, 100, False),  # the noise is 0.068
        (0.13, 100, True),
        (0.0, 100, True),
        (-0.4, 100, True),
        (0.4, 10, True),  # 0.248
        (0.14, 1000, False),
    ],
)
def test_tau_must_be_above_zero_by_more_than_its_noise(tau, num_subnets, warns):
    ranking = replace(GOOD, tau=tau, tau_noise=tau_noise(num_subnets), num_subnets=num_subnets)
    warning = watch_ranking(ranking)
    assert (warning is not None) is warns
    if warning:
        assert "close to a lottery" in warning.text
        assert f"{tau:.2f}" in warning.text
        assert f"{num_subnets} subnets in 10 folds" in warning.text
        assert "accuracy.num_subnets" in warning.advice


@pytest.mark.parametrize(
    ("spread", "noise", "tau", "is_flat"),
    [
        (0.02, 0.002, 0.8, False),
        (0.002, 0.003, 0.8, True),
        (0.003, 0.003, 0.1, True),
        # The noise itself is known from ten repeats only: 1.6 of it are no difference yet.
        (0.0045, 0.003, 0.1, True),
        (0.0045, 0.003, 0.8, False),
        (0.006, 0.003, 0.1, False),
        (0.0, 0.0, 0.0, True),
        (0.01, 0.0, 0.0, False),
    ],
)
def test_where_accuracies_are_noise_there_is_nothing_to_rank(spread, noise, tau, is_flat):
    ranking = replace(GOOD, spread=spread, label_noise=LabelNoise(std=noise, degrees=10), tau=tau)
    warning = watch_ranking(ranking)
    assert (warning is not None and "nothing to rank" in warning.text) is is_flat
    if is_flat:
        assert "lottery" not in warning.text
        assert "predictor.kind" not in warning.advice
        assert "dataset.selection_fraction" in warning.advice


SPACE = mobilenet_v3_small_images(
    resolutions_px=(16, 20),
    depths=(1, 2),
    kernel_sizes=(3, 5),
    expand_ratios=(2, 3),
    stem_stride=1,
    stem_channels=8,
    group_channels=(8, 16),
    group_strides=(1, 2),
    head_channels=(16, 16),
)


def ranking_of(accuracy_of):
    genes = np.unique(SPACE.sample(np.random.default_rng(0), 80), axis=0)[:40]
    accuracy = accuracy_of(SPACE.one_hot(genes).astype(np.float64))
    subnets = labeled_subnets(SPACE, genes, accuracy, cost=np.arange(len(genes), dtype=float))
    validation = cross_validate(subnets, "ridge", folds=5, seed=0)
    return Ranking.of(validation, LabelNoise(std=0.001, degrees=10))


def test_predictor_that_learns_an_order_does_not_warn():
    ranking = ranking_of(lambda features: 0.5 + 0.01 * features @ np.arange(features.shape[1]) / 9)
    assert watch_ranking(ranking) is None
    assert ranking.num_folds == 5


def test_labels_without_an_order_are_a_lottery():
    draws = np.random.default_rng(1)
    ranking = ranking_of(lambda features: draws.uniform(0.4, 0.6, len(features)))
    assert "lottery" in watch_ranking(ranking).text


def test_equal_labels_are_nothing_to_rank():
    ranking = ranking_of(lambda features: np.full(len(features), 0.5))
    assert ranking.spread == 0
    assert "nothing to rank" in watch_ranking(ranking).text
