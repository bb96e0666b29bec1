import warnings

import numpy as np
import optuna
import pytest

from ofa_pipeline.errors import ArchError, ParamsError
from ofa_pipeline.predictor import BoostingSettings, labeled_subnets
from ofa_pipeline.search.ledger import arch_of, distributions, open_ledger, params_of
from ofa_pipeline.search.optuna_sampler import SurrogateSampler, build_sampler
from ofa_pipeline.search.pareto import hypervolume
from ofa_pipeline.search.tuning import tune_predictor
from tests.support.synthetic import (
    labeled_sample,
    small_space,
    true_accuracy,
    true_latency_ms,
)


@pytest.fixture(scope="module")
def space():
    return small_space(num_groups=2)


@pytest.fixture
def ledger(space, tmp_path):
    return open_ledger(tmp_path / "ledger.journal", space=space, name="demo on cpu")


def measure(space, arch):
    genes = space.genes([arch])
    return {
        "accuracy_top1": float(true_accuracy(space, genes)[0]),
        "latency_ms": float(true_latency_ms(space, genes)[0]),
    }


def test_architectures_round_trip_through_parameters(space):
    for arch in space.archs(space.sample(np.random.default_rng(0), 20)):
        params = params_of(space, arch)
        assert set(params) == set(distributions(space))
        assert arch_of(space, params) == arch


def test_parameters_outside_the_choices_are_refused(space):
    params = {**params_of(space, space.largest), "kernel_size_0": 9}
    with pytest.raises(ArchError, match=r"kernel_size_0 .* must be one of"):
        arch_of(space, params)


def test_a_ledger_keeps_what_was_measured(space, ledger, tmp_path):
    ledger.record(space.largest, accuracy_top1=0.9, latency_ms=2.0, note="by hand")
    again = open_ledger(tmp_path / "ledger.journal", space=space, name="demo on cpu")
    measured = again.measured()
    assert space.archs(measured.genes) == [space.largest]
    assert (measured.accuracy[0], measured.latency_ms[0]) == (0.9, 2.0)
    assert again.find(space.largest) == (0.9, 2.0)
    assert again.find(space.smallest) is None


def test_two_workers_share_a_ledger(space, tmp_path):
    workers = [open_ledger(tmp_path / "l.journal", space=space, name="shared") for _ in range(2)]
    asked = [worker.ask() for worker in workers]
    assert asked[0].number != asked[1].number
    for worker, task in zip(workers, asked, strict=True):
        worker.tell(task, **measure(space, task.arch))
    assert len(workers[0].measured().accuracy) == 2


def test_what_could_not_be_measured_does_not_count(ledger):
    ledger.give_up(ledger.ask())
    assert len(ledger.measured().accuracy) == 0


def test_values_that_are_not_finite_are_refused(space, ledger):
    with pytest.raises(ParamsError, match="finite"):
        ledger.record(space.largest, accuracy_top1=float("nan"), latency_ms=1.0)


def test_a_ledger_of_another_space_is_refused(ledger, tmp_path):
    with pytest.raises(ParamsError, match="a study of its own"):
        open_ledger(tmp_path / "ledger.journal", space=small_space(), name="demo on cpu")


@pytest.mark.parametrize(
    ("directions", "has_trial", "message"),
    [
        (["minimize", "minimize"], False, "must maximize and minimize"),
        (["maximize", "minimize"], True, "holds trials of something else"),
    ],
)
def test_a_foreign_study_is_refused_and_left_as_it_was(
    space, tmp_path, directions, has_trial, message
):
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "studies.journal"))
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(storage=storage, study_name="theirs", directions=directions)
    if has_trial:
        study.add_trial(optuna.trial.create_trial(values=[0.5, 1.0]))
    with pytest.raises(ParamsError, match=message):
        open_ledger(tmp_path / "studies.journal", space=space, name="theirs")
    assert optuna.load_study(study_name="theirs", storage=storage).user_attrs == {}


def test_the_surrogate_sampler_finds_better_subnets_than_chance(space):
    def study_with(sampler):
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        for _ in range(40):
            trial = study.ask(fixed_distributions=distributions(space))
            values = measure(space, arch_of(space, trial.params))
            study.tell(trial, [values["accuracy_top1"], values["latency_ms"]])
        return study

    def volume(study):
        losses = np.array([[-trial.values[0], trial.values[1]] for trial in study.trials])
        return hypervolume(losses, np.array([-0.7, 2.0]))

    ours = study_with(SurrogateSampler(space, num_startup=16))
    chance = study_with(optuna.samplers.RandomSampler(seed=0))
    assert volume(ours) > volume(chance)
    assert len({arch_of(space, t.params).arch_id for t in ours.trials}) == 40


def test_the_surrogate_sampler_refuses_other_objectives(space):
    study = optuna.create_study(direction="maximize", sampler=SurrogateSampler(space))
    with pytest.raises(ParamsError, match="maximises accuracy and minimises latency"):
        study.ask(fixed_distributions=distributions(space))


def test_parameters_that_are_no_genes_are_drawn_at_random(space):
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=SurrogateSampler(space)
    )
    trial = study.ask(fixed_distributions=distributions(space))
    assert 0 <= trial.suggest_float("learning_rate", 0, 1) <= 1


@pytest.mark.parametrize("name", ["surrogate", "nsga2", "tpe", "gp", "random"])
def test_samplers_are_chosen_by_name(space, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = build_sampler(name, space, seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    assert arch_of(space, study.ask(fixed_distributions=distributions(space)).params)


def test_an_unknown_sampler_names_the_known_ones(space):
    with pytest.raises(ParamsError, match="nsga2"):
        build_sampler("nsga", space, seed=0)


def test_tuning_is_never_worse_than_the_defaults():
    space = small_space(num_groups=1)
    genes, accuracy = labeled_sample(space, 30, seed=0)
    subnets = labeled_subnets(space, genes, accuracy, cost=true_latency_ms(space, genes))
    tuned = tune_predictor(subnets, "gradient_boosting", num_trials=2, folds=2, seed=0)
    assert isinstance(tuned.settings, BoostingSettings)
    assert tuned.rmse_points <= tuned.default_rmse_points


def test_a_predictor_without_settings_is_not_tuned():
    space = small_space(num_groups=1)
    genes, accuracy = labeled_sample(space, 30, seed=0)
    subnets = labeled_subnets(space, genes, accuracy, cost=true_latency_ms(space, genes))
    with pytest.raises(ParamsError, match="gradient_boosting, mlp_ensemble"):
        tune_predictor(subnets, "gaussian_process", num_trials=2, folds=2, seed=0)
