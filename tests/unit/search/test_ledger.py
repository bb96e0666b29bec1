"""The ledger of a search: a study that survives kills and damage."""

import random

import numpy as np
import optuna
import pytest

from ofa_pipeline.compute import SERIAL
from ofa_pipeline.measuring import measure_all
from ofa_pipeline.progress import Reporter
from ofa_pipeline.search.ledger import Ledger, NotedWorld
from ofa_pipeline.search.trial_params import params_of
from tests.support.synthetic import small_space, true_accuracy, true_latency_ms

SPACE = small_space(num_groups=2)
ARCHS = SPACE.archs(SPACE.sample(np.random.default_rng(0), 4))


class KilledError(Exception):
    """The process ends here."""


class Task:
    def __init__(self, arch, quantity):
        self.arch = arch
        self.quantity = quantity
        self.key = f"{quantity} {arch.arch_id}"


class World:
    """Measures through `measure_all`, as the real one does."""

    def __init__(self, ledger, *, killed_after=10**6):
        self.ledger = ledger
        self.killed_after = killed_after
        self.measured = []

    def evaluate(self, archs, *, label):
        return [row["accuracy_top1"] for row in self.rows(archs, "accuracy", label)]

    def measure(self, archs, *, label):
        return self.rows(archs, "latency", label)

    def rows(self, archs, quantity, label):
        tasks = [Task(arch, quantity) for arch in archs]
        return measure_all(
            tasks, lambda: self.row_of, log=self.ledger, executor=SERIAL, label=label
        )

    def row_of(self, task):
        if len(self.measured) == self.killed_after:
            raise KilledError
        self.measured.append(task.key)
        return row_of(task)


def row_of(task):
    genes = SPACE.genes([task.arch])
    if task.quantity == "accuracy":
        return {"accuracy_top1": float(true_accuracy(SPACE, genes)[0]), "num_images": 100}
    latency_ms = float(true_latency_ms(SPACE, genes)[0])
    return {"p50_ms": latency_ms, "p95_ms": 1.1 * latency_ms, "is_contended": False}


def ledger_at(path, **options):
    return Ledger(path, space=SPACE, name="demo on cpu", **options)


def run(path, *, killed_after=10**6, archs=ARCHS):
    """Return the world after it measured all, or was killed, and what it returned."""
    ledger = ledger_at(path)
    world = World(ledger, killed_after=killed_after)
    noted = NotedWorld(world, ledger)
    try:
        return world, (noted.evaluate(archs, label="a"), noted.measure(archs, label="b"))
    except KilledError:
        return world, None


def study_in(path):
    """Open the journal as any user of Optuna does."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    [name] = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.journal"


def test_every_measured_subnet_is_a_trial(path):
    _, (accuracies, latencies) = run(path)
    study = study_in(path)
    assert study.study_name == "demo on cpu"
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    for trial, arch, accuracy, latency in zip(
        study.trials, ARCHS, accuracies, latencies, strict=True
    ):
        assert trial.state is optuna.trial.TrialState.COMPLETE
        assert trial.values == [accuracy, latency["p50_ms"]]
        assert trial.params == params_of(SPACE, arch)
        assert trial.user_attrs["arch_id"] == arch.arch_id
        assert trial.user_attrs["latency"]["p95_ms"] == latency["p95_ms"]


@pytest.mark.parametrize("killed_after", range(2 * len(ARCHS)))
def test_a_killed_search_measures_nothing_twice(path, killed_after):
    before, _ = run(path, killed_after=killed_after)
    after, found = run(path)
    assert len(before.measured) == killed_after
    assert sorted(before.measured + after.measured) == sorted(
        Task(arch, quantity).key for arch in ARCHS for quantity in ("accuracy", "latency")
    )
    assert found == run(path.with_name("never killed"))[1]
    assert len(study_in(path).trials) == len(ARCHS)


def test_a_trial_without_its_values_gets_them_on_the_next_run(path):
    """Killed between the last measurement and the word that the trial is complete."""
    run(path, archs=ARCHS[:1])
    *lines, complete = path.read_bytes().splitlines(keepends=True)
    assert b'"values":[' in complete
    path.write_bytes(b"".join(lines))
    world, _ = run(path, archs=ARCHS[:1])
    assert world.measured == []
    assert study_in(path).trials[0].state is optuna.trial.TrialState.COMPLETE


def test_a_torn_line_is_measured_again(path):
    run(path)
    path.write_bytes(path.read_bytes()[:-300])
    world, found = run(path)
    assert 0 < len(world.measured) < 2 * len(ARCHS)
    assert found == run(path.with_name("never torn"))[1]
    assert len(study_in(path).get_trials(states=(optuna.trial.TrialState.COMPLETE,))) == 4


def test_a_lock_of_a_killed_process_does_not_hold_up_the_next(path):
    run(path, archs=ARCHS[:1])
    path.with_name(f"{path.name}.lock").symlink_to(path)
    world, _ = run(path)
    assert len(world.measured) == 2 * (len(ARCHS) - 1)


def test_what_is_lost_to_damage_is_told_and_kept_aside(path):
    run(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"accuracy_top1", b"accuracy\xfftop1"))
    events = []
    ledger_at(path, reporter=Reporter(events.append))
    [message] = [event.label for event in events if event.total == 0]
    assert "measured again" in message
    assert path.with_name("study.journal.bad").read_bytes() != content


def test_damage_never_becomes_a_measurement(path):
    """Whatever byte is turned: what the ledger says was measured is what was measured."""
    run(path)
    content = path.read_bytes()
    tasks = [Task(arch, quantity) for arch in ARCHS for quantity in ("accuracy", "latency")]
    truth = {task.key: row_of(task) for task in tasks}
    rng = random.Random(0)
    for _ in range(40):
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] = rng.choice(b'0123456789abc{}",:')
        path.write_bytes(damaged)
        rows = ledger_at(path).rows
        assert rows.items() <= truth.items()


def test_a_digest_is_of_all_that_was_noted(path):
    run(path, archs=ARCHS[:1])
    text = path.read_text()
    assert '"num_images":100' in text
    path.write_text(text.replace('"num_images":100', '"num_images":101'))
    assert [key.split()[0] for key in ledger_at(path).rows] == ["latency"]
