import json
from dataclasses import replace

import numpy as np
import pytest

from ofa_pipeline.cost import latency_features
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.latency import (
    choose_rows,
    design_subnets,
    fit_latency,
    load_latency_model,
    report_errors,
    report_selection,
    save_latency_model,
)
from tests.support.documents import latency_report
from tests.support.synthetic import small_space, true_latency_ms


@pytest.fixture(scope="module")
def space():
    return small_space()


@pytest.fixture(scope="module")
def genes(space):
    return design_subnets(space, num_classes=10, num_subnets=20, num_holdout=200, seed=0)


def measured(space, genes, *, noise=0.01, seed=0):
    rng = np.random.default_rng(seed)
    return true_latency_ms(space, genes) * rng.normal(1, noise, len(genes))


def launch_bound_ms(space, genes):
    """Return the larger of work and a constant a layer, which is about the half."""
    names, totals = latency_features(space, genes, num_classes=10)
    layers = totals[:, names.index("num_layers")]
    return np.maximum(true_latency_ms(space, genes), 0.043 * layers)


def tiled_ms(space, genes, *, tile_px=7, noise=0.01, seed=0):
    """Return latencies of a device that computes seven pixels at once, kernels of 7 slowly."""
    names, totals = latency_features(space, genes, num_classes=10, tile_px=tile_px)
    costs = np.array([1e-6 * name.startswith("macs_") for name in names])
    costs[names.index("macs_depthwise_k7")] = 2e-5
    costs[names.index("num_layers")] = 1e-3
    return totals @ costs * np.random.default_rng(seed).normal(1, noise, len(genes))


def test_where_launching_bounds_small_subnets_that_is_recognized(space, genes):
    fit = fit_latency(space, genes[0], launch_bound_ms(space, genes[0]), num_classes=10)
    assert fit.model.form == "totals or launching"
    assert 0.2 < fit.is_launch_bound.mean() < 0.8
    report = report_errors(launch_bound_ms(space, genes[1]), fit.model.predict(space, genes[1]))
    assert report.median_error < 0.02


def test_a_device_that_computes_whole_tiles_of_pixels_is_recognized(space, genes, tmp_path):
    fit = fit_latency(space, genes[0], tiled_ms(space, genes[0]), num_classes=10)
    assert (fit.model.form, fit.model.tile_px) == ("totals in tiles of 7", 7)
    true_ms = tiled_ms(space, genes[1], noise=0)
    report = report_errors(true_ms, fit.model.predict(space, genes[1]))
    assert report.mape < 0.015
    assert report.share_within_5_percent == 1
    learned = report_selection(space, fit, holdout=genes[1], holdout_ms=true_ms, noise_cv=0.01)
    assert learned.learning_curve[-1].mape == pytest.approx(report.mape)
    save_latency_model(fit.model, tmp_path, report=latency_report())
    assert json.loads((tmp_path / "model.json").read_text())["format"] == 3
    assert load_latency_model(tmp_path) == fit.model


def test_a_device_that_computes_each_pixel_alone_has_no_tiles(space, genes):
    fit = fit_latency(space, genes[0], tiled_ms(space, genes[0], tile_px=1), num_classes=10)
    assert (fit.model.form, fit.model.tile_px) == ("totals", 1)


def test_with_many_subnets_the_rest_of_whole_tiles_is_learned(space, genes):
    many = space.sample(np.random.default_rng(3), 120)
    smallest_ms = tiled_ms(space, space.genes([space.smallest]), noise=0)

    def curved_ms(genes):
        latency_ms = tiled_ms(space, genes, noise=0)
        return latency_ms * (1 + 0.05 * np.sin(2 * np.log(latency_ms / smallest_ms)))

    fit = fit_latency(space, many, curved_ms(many), num_classes=10)
    assert fit.model.tile_px == 7
    assert fit.model.residual is not None
    assert report_errors(curved_ms(genes[1]), fit.model.predict(space, genes[1])).mape < 0.02


def test_a_device_that_computes_whole_tiles_is_a_start_as_it_is(space, genes):
    known = fit_latency(space, genes[0], tiled_ms(space, genes[0]), num_classes=10).model
    few = design_subnets(space, num_classes=10, num_subnets=7, num_holdout=0, seed=1)[0]
    few_ms = 3 * tiled_ms(space, few, seed=2)
    fit = fit_latency(space, few, few_ms, num_classes=10, sources={"known": known})
    assert (fit.model.form, fit.model.tile_px) == ("transfer from known", 7)
    true_ms = 3 * tiled_ms(space, genes[1], noise=0)
    assert report_errors(true_ms, fit.model.predict(space, genes[1])).mape < 0.02


def test_a_work_bound_device_has_no_part_for_launching(space, genes):
    fit = fit_latency(space, genes[0], measured(space, genes[0]), num_classes=10)
    assert fit.model.launch is None
    assert not fit.is_launch_bound.any()


def test_spoiled_measurements_are_set_aside_and_named(space, genes):
    latency_ms = measured(space, genes[0], noise=0.002)
    latency_ms[[5, 11]] *= 3
    fit = fit_latency(space, genes[0], latency_ms, num_classes=10)
    holdout_ms = true_latency_ms(space, genes[1])
    selection = report_selection(
        space, fit, holdout=genes[1], holdout_ms=holdout_ms, noise_cv=0.002
    )
    assert {5, 11} <= set(np.flatnonzero(fit.choice.form.is_outlier).tolist())
    named = {space.archs(genes[0][index][None])[0].arch_id for index in (5, 11)}
    assert named <= set(selection.outliers)
    assert report_errors(holdout_ms, fit.model.predict(space, genes[1])).median_error < 0.05


@pytest.mark.parametrize("factor", [10, 0.1])
def test_gross_outliers_either_way_do_not_lead_the_fit(space, genes, factor):
    spoiled = [3, 8, 13, 18]
    latency_ms = measured(space, genes[0], noise=0.002)
    latency_ms[spoiled] *= factor
    fit = fit_latency(space, genes[0], latency_ms, num_classes=10)
    assert set(spoiled) <= set(np.flatnonzero(fit.choice.form.is_outlier).tolist())
    holdout_ms = true_latency_ms(space, genes[1])
    assert report_errors(holdout_ms, fit.model.predict(space, genes[1])).median_error < 0.06


def test_most_held_out_subnets_are_within_the_prediction_interval(space, genes):
    fit = fit_latency(space, genes[0], measured(space, genes[0], noise=0.03), num_classes=10)
    low, high = fit.model.bounds(space, genes[1])
    found = measured(space, genes[1], noise=0.03, seed=1)
    assert ((low <= found) & (found <= high)).mean() >= 0.8
    assert high.mean() < 1.5 * low.mean()


def test_a_subnet_that_was_measured_several_times_counts_once(space, genes):
    latency_ms = measured(space, genes[0])
    once = fit_latency(space, genes[0], latency_ms, num_classes=10)
    again = np.concatenate([genes[0], genes[0][:3], genes[0][:3]])
    spoiled = np.concatenate([latency_ms, latency_ms[:3], 9 * latency_ms[:3]])
    assert fit_latency(space, again, spoiled, num_classes=10).model == once.model


def test_impossible_latencies_are_named(space, genes):
    latency_ms = measured(space, genes[0])
    latency_ms[[3, 4]] = np.nan, -1
    with pytest.raises(DeviceError, match=r"nan of subnet 3, -1 of subnet 4 \(2 of 20\)"):
        fit_latency(space, genes[0], latency_ms, num_classes=10)


def test_another_device_makes_up_for_few_measurements(space, genes):
    known = fit_latency(space, genes[0], measured(space, genes[0]), num_classes=10).model
    few = design_subnets(space, num_classes=10, num_subnets=7, num_holdout=0, seed=1)[0]
    latency_ms = 3 * known.predict(space, few) * np.random.default_rng(2).normal(1, 0.01, len(few))
    alone = fit_latency(space, few, latency_ms, num_classes=10)
    helped = fit_latency(space, few, latency_ms, num_classes=10, sources={"known": known})
    true = 3 * known.predict(space, genes[1])
    assert helped.model.form == "transfer from known"

    def error(fit):
        return report_errors(true, fit.model.predict(space, genes[1])).mape

    assert error(helped) < error(alone)


def test_ten_measurements_are_nearly_worth_twenty_where_a_like_device_is_known(space, genes):
    known = fit_latency(space, genes[0], measured(space, genes[0]), num_classes=10).model
    # Another device: three times slower, depthwise layers 4.5 times, and no two totals alike.
    rng = np.random.default_rng(0)
    factors = {
        name: 3 * (1.5 if "depthwise" in name else 1) * rng.lognormal(0, 0.1)
        for name in known.costs_ms
    }
    costs_ms = {name: factors[name] * cost for name, cost in known.costs_ms.items()}
    other = replace(known, costs_ms=costs_ms, fixed_ms=3 * known.fixed_ms)

    def error(count, *, sources):
        errors = []
        for seed in range(2):
            chosen, rest = design_subnets(
                space, num_classes=10, num_subnets=count, num_holdout=200, seed=seed
            )
            rng = np.random.default_rng(seed)
            latency_ms = other.predict(space, chosen) * rng.normal(1, 0.01, count)
            fit = fit_latency(space, chosen, latency_ms, num_classes=10, sources=sources)
            found = report_errors(other.predict(space, rest), fit.model.predict(space, rest))
            errors.append(found.mape)
        return np.mean(errors)

    helped = error(10, sources={"known": known})
    assert helped < 0.7 * error(10, sources={})
    assert helped < 1.3 * error(20, sources={})


def test_a_device_of_another_kind_is_no_start(space, genes):
    known = fit_latency(space, genes[0], measured(space, genes[0]), num_classes=10).model
    few = design_subnets(space, num_classes=10, num_subnets=10, num_holdout=0, seed=1)[0]
    names, totals = latency_features(space, few, num_classes=10)
    latency_ms = 0.05 * totals[:, names.index("num_layers")]
    fit = fit_latency(space, few, latency_ms, num_classes=10, sources={"known": known})
    assert "transfer" not in fit.model.form
    assert fit.choice.losses["transfer from known"] > fit.choice.losses[fit.model.form]


def test_devices_of_another_space_or_number_of_classes_are_no_source(space, genes):
    latency_ms = measured(space, genes[0])
    known = fit_latency(space, genes[0], latency_ms, num_classes=5).model
    with pytest.raises(DeviceError, match=r"known was profiled for .* 5 classes"):
        fit_latency(space, genes[0], latency_ms, num_classes=10, sources={"known": known})
    other = small_space(num_groups=2)
    other_genes = other.sample(np.random.default_rng(0), 10)
    with pytest.raises(DeviceError, match="transferred within a space"):
        fit_latency(
            other,
            other_genes,
            true_latency_ms(other, other_genes),
            num_classes=5,
            sources={"known": known},
        )


def test_with_many_subnets_a_process_corrects_the_sum_within_its_limit(space, genes, tmp_path):
    many = space.sample(np.random.default_rng(3), 120)

    def curved_ms(genes):
        latency = true_latency_ms(space, genes)
        return latency * (1 + 0.05 * np.sin(3 * latency / latency.mean()))

    fit = fit_latency(space, many, curved_ms(many), num_classes=10)
    residual = fit.model.residual
    assert residual is not None
    corrected = fit.model.predict(space, genes[1])
    form = fit.choice.form
    assert form.launch is None
    _, totals = latency_features(space, genes[1], num_classes=10, tile_px=form.tile_px)
    summed = form.work[0] + totals @ form.work[1:]
    assert (np.abs(corrected / summed - 1) <= residual.limit + 1e-9).all()
    truth = curved_ms(genes[1])
    assert report_errors(truth, corrected).mape < report_errors(truth, summed).mape
    save_latency_model(fit.model, tmp_path, report=latency_report())
    assert load_latency_model(tmp_path) == fit.model


def test_exchanges_tell_more_than_any_choice_one_by_one():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 6)) ** 3

    def information(rows):
        scaled = (features - features.mean(axis=0)) / features.std(axis=0)
        chosen = np.column_stack([np.ones(len(rows)), scaled[rows]])
        return np.linalg.slogdet(chosen.T @ chosen + 0.1 * np.eye(7))[1]

    chosen = choose_rows(features, count=12)
    assert (chosen == choose_rows(features, count=12)).all()
    assert len(set(chosen.tolist())) == 12
    for position in range(12):
        for row in set(range(200)) - set(chosen.tolist()):
            exchanged = chosen.copy()
            exchanged[position] = row
            assert information(exchanged) <= information(chosen) + 1e-6


def test_past_some_dozens_subnets_are_taken_as_they_come():
    features = np.random.default_rng(0).normal(size=(200, 4))
    chosen = choose_rows(features, count=50)
    assert len(set(chosen.tolist())) == 50
    rest = np.setdiff1d(np.arange(200), chosen[:30])
    assert (chosen[30:] == rest[:20]).all()


def test_where_all_are_the_same_there_is_no_order():
    same, other = np.full(6, 2.0), np.arange(1.0, 7.0)
    for measured, estimated in ((same, other), (other, same), (same, same)):
        report = report_errors(measured, estimated)
        assert (report.kendall_tau, report.spearman_rho) == (0.0, 0.0)
