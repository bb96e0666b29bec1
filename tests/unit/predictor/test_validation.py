import numpy as np
import pytest

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.predictor import (
    choose_predictor,
    cross_validate,
    labeled_subnets,
    learning_curve,
    pooled_noise,
    report_predictions,
    validate_kinds,
)
from ofa_pipeline.predictor.metrics import kendall_tau, regret, top_decile_tau
from tests.support.synthetic import labeled_sample, small_space, true_latency_ms


@pytest.fixture(scope="module")
def subnets():
    space = small_space()
    genes, accuracy = labeled_sample(space, 60, seed=0)
    return labeled_subnets(space, genes, accuracy, cost=true_latency_ms(space, genes))


def test_every_subnet_is_predicted_once_by_a_predictor_that_did_not_see_it(subnets):
    validation = cross_validate(subnets, "kernel_ridge", folds=5, seed=0)
    assert sorted(np.bincount(validation.fold)) == [12] * 5
    assert validation.report.tau > 0.7
    assert validation.report.num_subnets == len(subnets.genes)
    assert (validation.mean != subnets.accuracy).all()


def test_too_few_subnets_to_cross_validate_is_an_error():
    space = small_space()
    genes = space.genes([space.smallest, space.largest])
    few = labeled_subnets(space, genes, np.array([0.7, 0.9]), cost=np.array([1.0, 2.0]))
    with pytest.raises(ParamsError, match="at least 4 different subnets, got 2"):
        cross_validate(few, "kernel_ridge", folds=5, seed=0)


def test_auto_validates_several_kinds_and_chooses_the_smaller_error_among_ties(subnets):
    validations = validate_kinds(subnets, "auto", folds=3, seed=0)
    chosen = choose_predictor(validations, label_noise=1.0)
    assert len(validations) > 1
    assert chosen.report.rmse_points == min(v.report.rmse_points for v in validations)


def test_regret_decides_before_the_error(subnets):
    validations = validate_kinds(subnets, "auto", folds=3, seed=0)
    chosen = choose_predictor(validations, label_noise=0.0)
    best = min(v.report.regret_points["5"] for v in validations)
    assert chosen.report.regret_points["5"] == best


def test_the_learning_curve_grows_to_all_subnets(subnets):
    points = learning_curve(subnets, "kernel_ridge", folds=3, seed=0)
    sizes = [point.num_samples for point in points]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 40


def test_a_perfect_predictor_has_no_error_and_no_regret():
    measured = np.linspace(0.7, 0.8, 40)
    report = report_predictions(measured, measured, np.full(40, 0.01), cost=np.arange(40.0))
    assert report.rmse_points == 0
    assert report.tau == pytest.approx(1)
    assert report.tau_top_decile == pytest.approx(1)
    assert report.coverage == 1
    assert set(report.regret_points.values()) == {0.0}
    assert report.optimism_points == 0


def test_optimism_is_what_the_best_looking_subnets_lack():
    measured = np.full(40, 0.7)
    predicted = measured.copy()
    predicted[:4] += 0.02
    report = report_predictions(measured, predicted, np.full(40, 0.01), cost=np.arange(40.0))
    assert report.optimism_points == pytest.approx(2.0)


def test_regret_shrinks_with_the_number_verified():
    measured = np.array([0.70, 0.75, 0.80])
    predicted = np.array([0.9, 0.8, 0.7])
    everything = np.ones(3, dtype=bool)
    regrets = [regret(measured, predicted, feasible=everything, k=k) for k in (1, 2, 3)]
    assert regrets == pytest.approx([0.10, 0.05, 0.0])
    assert regret(measured, predicted, feasible=~everything, k=1) == 0.0


def test_rank_correlation_of_constants_is_zero():
    assert kendall_tau(np.ones(5), np.arange(5.0)) == 0.0
    assert top_decile_tau(np.arange(5.0), np.arange(5.0)) == pytest.approx(1.0)


def test_pooled_noise_ignores_differences_between_groups():
    groups = [np.array([0.7, 0.72]), np.array([0.9, 0.92]), np.array([0.5])]
    assert pooled_noise(groups) == pytest.approx(np.sqrt(0.0002))
    assert pooled_noise([np.array([0.5])]) == 0.0
