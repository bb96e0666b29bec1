"""The stage search on a tiny supernet with random weights, on the device of this machine."""

import shutil
from datetime import datetime

import optuna
import pytest

from ofa_pipeline.artifacts import Layout, verify_artifact, write_artifact
from ofa_pipeline.devices.process import ProcessDevice
from ofa_pipeline.stages import run_stage
from ofa_pipeline.stopwatch import FINISHED_KEY
from ofa_pipeline.supernet import build_supernet, save_supernet
from ofa_pipeline.tables import EVALUATIONS_SCHEMA, read_table
from tests.support.trained_workspace import context_of, prepared_workspace

DEVICE = "cpu-pytorch"


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A workspace with all that the stage reads."""
    root = tmp_path_factory.mktemp("search")
    values = prepared_workspace(root)
    values["latency"] |= {"num_subnets": 10, "num_holdout": 5, "warmup_runs": 1, "timed_runs": 10}
    card = values["devices"][DEVICE]["card"]
    values["devices"] = {DEVICE: {"card": card, "budget_fractions": [0.5, 1.0]}}
    values["search"] |= {"population": 32, "generations": 4, "latency_margin": 0.0}
    values["search"] |= {"max_rounds": 1, "sampler": "random"}
    space = context_of(root, values).params.space.build()
    with write_artifact(
        Layout(root).supernet("expand"), stage="train_supernet", item="expand", params={}, inputs=[]
    ) as writer:
        network = build_supernet(space, num_classes=2, seed=0)
        save_supernet(network, writer.folder / Layout(root).supernet_weights("expand").name)
    for stage, item in (
        ("collect_accuracy", None),
        ("fit_predictor", None),
        ("profile_latency", DEVICE),
    ):
        run_stage(stage, context_of(root, values, item))
    return root, values


@pytest.fixture
def context(ready, tmp_path):
    """Of a copy, since the stage writes in it."""
    root, values = ready
    shutil.copytree(root, tmp_path / "copy")
    return context_of(tmp_path / "copy", values, DEVICE)


def trials_beside(context):
    """The study that the stage has kept, as Optuna opens it."""
    path = context.layout.root / "artifacts/seconds/search" / DEVICE / Layout.STUDY
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    [study] = optuna.get_all_study_names(optuna.storages.JournalStorage(backend))
    assert study.endswith(f" on {DEVICE}")
    return optuna.load_study(
        study_name=study, storage=optuna.storages.JournalStorage(backend)
    ).trials


def test_every_evaluation_is_a_trial_of_the_study_that_is_kept(context):
    folder = run_stage("search", context)
    rows = read_table(folder / "evaluations.parquet", EVALUATIONS_SCHEMA).to_pylist()
    assert {trial.user_attrs["arch_id"]: trial.values for trial in trials_beside(context)} == {
        row["arch_id"]: [row["accuracy_top1_selection"], row["p50_ms"]] for row in rows
    }
    assert "sample" in {row["role"] for row in rows}  # the sampler of the params has proposed
    # Nothing of the study, which has times, is in what DVC compares; beside, it is tracked whole.
    assert Layout.STUDY not in {path.name for path in folder.iterdir()}
    seconds = verify_artifact(context.layout.root / "artifacts/seconds/search" / DEVICE)
    assert datetime.fromisoformat(seconds.summary[FINISHED_KEY]).tzinfo is not None


def test_a_killed_search_goes_on_from_the_study(context, monkeypatch):
    measure, measured = ProcessDevice.measure, []

    class KilledError(Exception):
        pass

    def killed_at_the_third(self, *args, **kwargs):
        if len(measured) == 2:
            raise KilledError
        measured.append(measure(self, *args, **kwargs))
        return measured[-1]

    monkeypatch.setattr(ProcessDevice, "measure", killed_at_the_third)
    with pytest.raises(KilledError):
        run_stage("search", context)
    monkeypatch.undo()
    [journal] = (context.layout.root / "scratch/seconds").glob(f"*/beside/{Layout.STUDY}")
    with journal.open("ab") as file:
        file.write(b"damage\n")
    folder = run_stage("search", context)
    rows = read_table(folder / "evaluations.parquet", EVALUATIONS_SCHEMA).to_pylist()
    assert [row["p50_ms"] for row in rows[:2]] == [one.p50_ms for one in measured]
    assert len(trials_beside(context)) == len(rows) > 2
    kept = context.layout.root / "artifacts/seconds/search" / DEVICE
    assert sorted(path.name for path in kept.iterdir()) == [Layout.MANIFEST, Layout.STUDY]
    assert not any((context.layout.root / "scratch/seconds").iterdir())
