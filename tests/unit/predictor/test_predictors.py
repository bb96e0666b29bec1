import numpy as np
import pytest

from ofa_pipeline.errors import ArchError, ManifestMismatchError, MissingArtifactError, ParamsError
from ofa_pipeline.predictor import (
    build_predictor,
    check_same_space,
    kendall_tau,
    load_predictor,
    predictor_kinds,
    save_predictor,
)
from tests.support.synthetic import labeled_sample, small_space, true_accuracy

KINDS = predictor_kinds()


@pytest.fixture(scope="module")
def space():
    return small_space()


@pytest.fixture(scope="module", params=KINDS)
def fitted(request, space):
    predictor = build_predictor(space, request.param, seed=0)
    predictor.fit(*labeled_sample(space, 80, seed=0))
    return predictor


def test_a_predictor_ranks_unseen_subnets(space, fitted):
    genes = space.sample(np.random.default_rng(9), 200)
    mean, std = fitted.predict(genes)
    assert kendall_tau(mean, true_accuracy(space, genes)) > 0.8
    assert mean.shape == std.shape == (200,)
    assert (std > 0).all()


def test_uncertainty_covers_unseen_measurements(space, fitted):
    genes, measured = labeled_sample(space, 300, seed=5)
    mean, std = fitted.predict(genes)
    covered = np.mean(np.abs(measured - mean) <= 1.645 * std)
    assert 0.75 < covered <= 1.0


def test_a_saved_predictor_predicts_the_same(space, fitted, tmp_path):
    save_predictor(fitted, tmp_path)
    loaded = load_predictor(tmp_path)
    genes = space.sample(np.random.default_rng(3), 20)
    for ours, theirs in zip(fitted.predict(genes), loaded.predict(genes), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert loaded.space == space
    assert loaded.kind == fitted.kind


@pytest.mark.parametrize("kind", KINDS)
def test_equal_fits_write_equal_bytes(space, kind, tmp_path):
    for name in ("first", "second"):
        predictor = build_predictor(space, kind, seed=1)
        predictor.fit(*labeled_sample(space, 40, seed=2))
        save_predictor(predictor, tmp_path / name)
    first, second = ((tmp_path / n / "predictor.npz").read_bytes() for n in ("first", "second"))
    assert first == second


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_samples_does_not_matter(space, kind):
    genes, accuracy = labeled_sample(space, 40, seed=2)
    new = space.sample(np.random.default_rng(3), 10)
    predictions = []
    for order in (np.arange(40), np.arange(40)[::-1]):
        predictor = build_predictor(space, kind, seed=1)
        predictor.fit(genes[order], accuracy[order])
        predictions.append(predictor.predict(new)[0])
    np.testing.assert_allclose(predictions[0], predictions[1], rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_two_subnets_are_enough_to_fit(space, kind):
    predictor = build_predictor(space, kind, seed=0)
    genes = space.genes([space.smallest, space.largest])
    predictor.fit(genes, np.array([0.7, 0.9]))
    mean, _ = predictor.predict(genes)
    assert np.isfinite(mean).all()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_labels_are_predicted_as_they_are(space, kind):
    predictor = build_predictor(space, kind, seed=0)
    genes, _ = labeled_sample(space, 12, seed=0)
    predictor.fit(genes, np.full(12, 0.8))
    np.testing.assert_allclose(predictor.predict(genes)[0], 0.8)


def test_predicting_nothing_gives_nothing(fitted, space):
    mean, std = fitted.predict(space.sample(np.random.default_rng(0), 0))
    assert mean.shape == std.shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unfitted_predictor_says_so(space, kind):
    with pytest.raises(ParamsError, match="must be fitted"):
        build_predictor(space, kind, seed=0).predict(space.genes([space.largest]))


def test_genes_of_another_space_are_refused(fitted):
    other = small_space(num_groups=2)
    with pytest.raises(ArchError, match="must have shape"):
        fitted.predict(other.genes([other.largest]))


@pytest.mark.parametrize(("bad", "found"), [(np.nan, "nan"), (-0.1, "-0.1"), (76.0, "76.0")])
def test_labels_that_are_no_fractions_are_refused(space, bad, found):
    genes, accuracy = labeled_sample(space, 10, seed=0)
    accuracy[3] = bad
    with pytest.raises(ParamsError, match=f"got {found} in row 3"):
        build_predictor(space, "gaussian_process", seed=0).fit(genes, accuracy)


def test_one_architecture_is_not_enough(space):
    genes = space.genes([space.largest, space.largest])
    with pytest.raises(ParamsError, match="at least two different architectures"):
        build_predictor(space, "kernel_ridge", seed=0).fit(genes, np.array([0.8, 0.81]))


def test_repeated_labels_of_one_architecture_are_averaged(space):
    genes, accuracy = labeled_sample(space, 30, seed=0)
    doubled = np.concatenate([genes, genes])
    up_and_down = np.concatenate([accuracy + 0.002, accuracy - 0.002])
    predictor = build_predictor(space, "kernel_ridge", seed=0)
    predictor.fit(doubled, up_and_down)
    reference = build_predictor(space, "kernel_ridge", seed=0)
    reference.fit(genes, accuracy)
    np.testing.assert_allclose(predictor.predict(genes)[0], reference.predict(genes)[0])


def test_an_unknown_kind_names_the_near_ones(space):
    with pytest.raises(ParamsError, match="kernel_ridge"):
        build_predictor(space, "kernel_rigde", seed=0)


def test_a_predictor_for_other_resolutions_is_refused(fitted):
    with pytest.raises(ArchError, match="for resolutions"):
        check_same_space(fitted, small_space(resolutions_px=(16, 28)))


def test_a_predictor_for_another_space_is_refused(fitted, space):
    check_same_space(fitted, space)
    with pytest.raises(ArchError, match="their choices differ"):
        check_same_space(fitted, small_space(num_groups=2))


def test_a_missing_predictor_names_the_stage(tmp_path):
    with pytest.raises(MissingArtifactError, match="ofa-pipeline stage fit_predictor"):
        load_predictor(tmp_path)


def test_a_damaged_predictor_is_refused(fitted, tmp_path):
    save_predictor(fitted, tmp_path)
    (tmp_path / "predictor.npz").write_bytes(b"no arrays")
    with pytest.raises(ManifestMismatchError, match="does not hold a predictor"):
        load_predictor(tmp_path)


def test_a_tuned_predictor_is_fitted_again_with_its_settings(tmp_path):
    space = small_space(num_groups=2)
    genes, accuracy = labeled_sample(space, 30, seed=0)
    settings = {"prior_spread": 0.3, "start_noise": 0.4}
    default = build_predictor(space, "gaussian_process", seed=0)
    tuned = build_predictor(space, "gaussian_process", seed=0, settings=settings)
    for predictor in (default, tuned):
        predictor.fit(genes, accuracy)
    save_predictor(tuned, tmp_path, settings=settings)
    loaded = load_predictor(tmp_path)
    loaded.fit(genes, accuracy)
    assert (loaded.predict(genes)[0] == tuned.predict(genes)[0]).all()
    assert (loaded.predict(genes)[0] != default.predict(genes)[0]).any()


def test_an_unknown_setting_names_the_known_ones():
    with pytest.raises(ParamsError, match=r"no setting 'prior_sprad'.*prior_spread"):
        build_predictor(small_space(), "gaussian_process", seed=0, settings={"prior_sprad": 1.0})
