import numpy as np
import pytest

from ofa_pipeline.cost import latency_features
from ofa_pipeline.errors import DeviceError, ManifestMismatchError, MissingArtifactError
from ofa_pipeline.latency import (
    design_subnets,
    fit_latency,
    load_latency_model,
    report_errors,
    save_latency_model,
)
from tests.support.documents import latency_report
from tests.support.synthetic import small_space, true_latency_ms


@pytest.fixture(scope="module")
def space():
    return small_space()


@pytest.fixture(scope="module")
def genes(space):
    return design_subnets(space, num_classes=10, num_subnets=30, num_holdout=100, seed=0)


@pytest.fixture(scope="module")
def model(space, genes):
    return fit_latency(space, genes[0], true_latency_ms(space, genes[0]), num_classes=10).model


def test_held_out_subnets_are_within_ten_percent(space, genes, model):
    report = report_errors(true_latency_ms(space, genes[1]), model.predict(space, genes[1]))
    assert report.share_within_10_percent >= 0.95
    assert report.kendall_tau > 0.9
    assert report.num_subnets == 100


def test_noise_of_a_few_percent_is_averaged_out(space, genes):
    rng = np.random.default_rng(0)
    noisy = true_latency_ms(space, genes[0]) * rng.normal(1, 0.03, len(genes[0]))
    model = fit_latency(space, genes[0], noisy, num_classes=10).model
    report = report_errors(true_latency_ms(space, genes[1]), model.predict(space, genes[1]))
    assert report.share_within_10_percent >= 0.95


def test_a_few_spoiled_measurements_do_not_spoil_the_model(space, genes):
    rng = np.random.default_rng(0)
    spoiled = true_latency_ms(space, genes[0]) * rng.normal(1, 0.01, len(genes[0]))
    spoiled[[4, 13, 22]] *= 1.4
    model = fit_latency(space, genes[0], spoiled, num_classes=10).model
    report = report_errors(true_latency_ms(space, genes[1]), model.predict(space, genes[1]))
    assert report.share_within_10_percent >= 0.95


def test_no_total_has_a_negative_cost_so_more_work_never_takes_less_time(space, model):
    assert model.fixed_ms >= 0
    assert min(model.costs_ms.values()) >= 0
    _, totals = latency_features(space, space.genes([space.smallest]), num_classes=10)
    small, large = space.genes([space.smallest]), space.genes([space.largest])
    assert (totals > 0).any()
    assert model.predict(space, small)[0] < model.predict(space, large)[0]


def test_the_unit_of_latency_does_not_matter(space, genes, model):
    in_us = fit_latency(
        space, genes[0], 1000 * true_latency_ms(space, genes[0]), num_classes=10
    ).model
    np.testing.assert_allclose(
        in_us.predict(space, genes[1]), 1000 * model.predict(space, genes[1]), rtol=1e-6
    )


def test_saved_models_are_the_same_when_loaded(space, genes, model, tmp_path):
    save_latency_model(model, tmp_path, report=latency_report())
    loaded = load_latency_model(tmp_path)
    np.testing.assert_array_equal(loaded.predict(space, genes[1]), model.predict(space, genes[1]))


def test_a_model_of_another_space_is_refused(model):
    other = small_space(num_groups=2)
    with pytest.raises(DeviceError, match="fitted to a space"):
        model.predict(other, other.genes([other.smallest]))


def test_too_few_subnets_are_refused(space, genes):
    with pytest.raises(DeviceError, match="at least 5"):
        fit_latency(space, genes[0][:4], np.ones(4), num_classes=10)


def test_a_latency_that_is_not_positive_is_refused(space, genes):
    with pytest.raises(DeviceError, match="positive"):
        fit_latency(space, genes[0][:6], np.array([1, 1, 1, 1, 1, 0.0]), num_classes=10)


def test_a_missing_and_a_broken_model_file_say_how_to_make_one(tmp_path):
    with pytest.raises(MissingArtifactError, match="profile_latency"):
        load_latency_model(tmp_path)
    (tmp_path / "model.json").write_text('{"model": {"fixed_ms": 1}}')
    with pytest.raises(ManifestMismatchError, match="profile_latency"):
        load_latency_model(tmp_path)
