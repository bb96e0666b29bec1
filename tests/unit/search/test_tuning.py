import pytest

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.predictor import cross_validate, labeled_subnets, tunable_settings
from ofa_pipeline.search import tuning
from ofa_pipeline.search.tuning import tune_kinds
from tests.support.synthetic import labeled_sample, small_space, true_latency_ms

SPACE = small_space(num_groups=1)
FOLDS = 3


@pytest.fixture
def subnets(monkeypatch):
    monkeypatch.setattr(tuning, "_TRIALS", 3)
    genes, accuracy = labeled_sample(SPACE, 30, seed=0)
    return labeled_subnets(SPACE, genes, accuracy, cost=true_latency_ms(SPACE, genes))


def validate(subnets, kind):
    return cross_validate(subnets, kind, folds=FOLDS, seed=0)


def tune(subnets, *kinds, seed=0):
    defaults = [validate(subnets, kind) for kind in kinds]
    return tune_kinds(subnets, defaults, folds=FOLDS, seed=seed)


def test_tuning_is_never_worse_than_the_default_settings(subnets):
    default = validate(subnets, "gaussian_process")
    [tuned] = tune(subnets, "gaussian_process")
    assert tuned.report.rmse_points <= default.report.rmse_points
    again = cross_validate(
        subnets, "gaussian_process", folds=FOLDS, seed=0, settings=tuned.settings
    )
    assert again.report == tuned.report


def test_better_settings_are_found_and_within_their_ranges(subnets, monkeypatch):
    monkeypatch.setattr(tuning, "_TRIALS", 8)
    [tuned] = tune(subnets, "gaussian_process")
    ranges = tunable_settings("gaussian_process")
    assert tuned.settings.keys() == ranges.keys()
    for name, value in tuned.settings.items():
        assert ranges[name].low <= value <= ranges[name].high


def test_the_same_seed_finds_the_same_settings(subnets):
    first, second = (tune(subnets, "gaussian_process")[0].settings for _ in range(2))
    assert first == second


def test_kinds_without_settings_are_left_as_they_are(subnets):
    ridge, _ = tune(subnets, "ridge", "gaussian_process")
    assert ridge.settings == {}
    assert ridge.report == validate(subnets, "ridge").report


def test_tuning_that_has_no_effect_is_refused(subnets):
    with pytest.raises(ParamsError, match=r"no effect on ridge.*one of gaussian_process"):
        tune(subnets, "ridge")
