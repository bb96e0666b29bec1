import optuna
import pytest

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.predictor import BoostingSettings, labeled_subnets
from ofa_pipeline.search.ledger import open_ledger
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
