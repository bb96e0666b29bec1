"""What is current, what runs again, what is restored: DVC over the stage graph, with toy stages."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flows.dvc_client import DvcClient, StageFailedError, Watcher
from ofa_pipeline.workspace import RUN_PID_VARIABLE, lock_path
from tests.support.workspace import read_params, run_command, toy_workspace, write_params

SHARED = ["prepare_dataset", "train_supernet@largest", "train_supernet@expand"]
SHARED += ["collect_accuracy", "fit_predictor"]
DEVICES = ["cpu-onnxruntime", "cpu-pytorch"]
CHAIN = ["profile_latency", "search", "specialize", "register"]
ALL = [*SHARED, *(f"{stage}@{device}" for device in DEVICES for stage in CHAIN), "report"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workspace in which `dvc repro` at the keyboard has made everything."""
    root = toy_workspace(tmp_path_factory.mktemp("toy"))
    run_command("dvc", "repro", workspace=root)
    return root


@pytest.fixture
def dvc(finished):
    with DvcClient(finished) as dvc:
        yield dvc


def outcomes(dvc, addresses=ALL):
    """Bring stages up to date; return what ran and what was restored."""
    ran, restored = [], []
    for address in addresses:
        watcher = Watcher()
        if dvc.ask("reproduce", [address], watcher):
            (ran if watcher.has_started else restored).append(address)
    return ran, restored


def change(root, section, **values):
    params = read_params(root)
    before = dict(params[section])
    params[section] |= values
    write_params(root, params)
    return before


def test_keyboard_ran_every_stage_once_and_leaves_nothing_to_do(finished, dvc):
    assert sorted((finished / "calls.txt").read_text().split()) == sorted(["list_source", *ALL])
    assert dvc.ask("status", ALL, Watcher()) == []
    assert outcomes(dvc) == ([], [])


def test_the_source_is_listed_each_time_and_nothing_runs_again_for_it(finished, dvc):
    assert dvc.ask("status", ["list_source"], Watcher()) == ["list_source"]
    assert outcomes(dvc, ["list_source", *ALL]) == (["list_source"], [])


def test_changed_param_runs_exactly_what_depends_on_it_and_changing_back_restores(finished, dvc):
    before = change(finished, "search", generations=7)
    dependent = [f"{stage}@{device}" for device in DEVICES for stage in CHAIN[1:]] + ["report"]
    assert outcomes(dvc) == (dependent, [])
    change(finished, "search", **before)
    assert outcomes(dvc) == ([], dependent)


def test_weights_to_start_from_are_imported_and_importing_them_again_trains_nothing(finished, dvc):
    weights = {"initial_weights": {"supernet": "own.safetensors"}}
    params = read_params(finished)
    before = {name: dict(params[name]) for name in ("training", "phases")}
    params["training"] |= weights
    params["phases"] = {
        **params["phases"],
        "largest": {**params["phases"]["largest"], "start_from": "initial"},
    }
    write_params(finished, params)
    ran, restored = outcomes(dvc, ["import_weights@supernet", *ALL])
    assert ran[:2] == ["import_weights@supernet", "train_supernet@largest"]
    assert restored == []
    dvc.ask("force", ["import_weights@supernet"], Watcher())  # as after an edit of an importer
    assert outcomes(dvc) == ([], [])
    write_params(finished, read_params(finished) | before)
    assert outcomes(dvc)[0] == []
    with pytest.raises(StageFailedError, match="import_weights"):
        dvc.ask("reproduce", ["import_weights@supernet"], Watcher())


def test_renamed_dataset_is_registered_anew_and_trains_nothing(finished, dvc):
    manifest = finished / "artifacts" / "dataset" / "manifest.json"
    content = manifest.read_bytes()
    before = change(finished, "dataset", name="clothes")
    renamed = ["prepare_dataset", *(f"register@{device}" for device in DEVICES)]
    assert outcomes(dvc) == (renamed, [])
    assert manifest.read_bytes() == content
    change(finished, "dataset", **before)
    assert outcomes(dvc) == ([], renamed)


def test_new_device_needs_params_alone_and_never_trains(finished, dvc):
    params = read_params(finished)
    known = dict(params["devices"])
    params["devices"]["other"] = known["cpu-pytorch"]
    write_params(finished, params)
    new = [f"{stage}@other" for stage in CHAIN]
    assert dvc.ask("status", SHARED, Watcher()) == []
    assert outcomes(dvc, [*ALL[:-1], *new, "report"]) == ([*new, "report"], [])
    params["devices"] = known
    write_params(finished, params)
    outcomes(dvc)


def test_deleted_artifact_comes_back(finished, dvc):
    manifest = finished / "artifacts" / "accuracy" / "manifest.json"
    content = manifest.read_bytes()
    manifest.unlink()
    assert outcomes(dvc, ["collect_accuracy"])[1] == ["collect_accuracy"]
    assert manifest.read_bytes() == content


def test_forced_stage_runs_although_nothing_changed(finished, dvc):
    watcher = Watcher()
    dvc.ask("force", ["register@cpu-pytorch"], watcher)
    assert watcher.has_started


def test_failed_stage_speaks_for_itself(finished, monkeypatch):
    monkeypatch.setenv("OFA_TOY_FAIL", "fit_predictor")
    with DvcClient(finished) as dvc:
        with pytest.raises(StageFailedError, match=r"was told to fail\. Do not") as caught:
            dvc.ask("force", ["fit_predictor"], Watcher())
        assert caught.value.exit_code == 1
        assert dvc.ask("status", ["prepare_dataset"], Watcher()) == []  # it goes on serving
    monkeypatch.delenv("OFA_TOY_FAIL")
    with DvcClient(finished) as dvc:
        outcomes(dvc)


def test_params_that_dvc_cannot_use_are_told(finished, dvc):
    with pytest.raises(StageFailedError, match="no_such_stage"):
        dvc.ask("reproduce", ["no_such_stage"], Watcher())


class Slow(Watcher):
    """Shows what it receives on something that takes its time."""

    def receive(self, event):
        if event.kind == "started":
            time.sleep(5)
        super().receive(event)


def test_events_are_read_to_the_end_by_a_slow_watcher_and_belong_to_their_stage(
    finished, monkeypatch
):
    monkeypatch.setenv("OFA_TOY_FAIL", "fit_predictor")
    with DvcClient(finished) as dvc:
        with pytest.raises(StageFailedError, match="was told to fail"):
            dvc.ask("force", ["fit_predictor"], Slow())
        first, second = Slow(), Watcher()
        dvc.ask("force", ["collect_accuracy"], first)
        dvc.ask("status", ["prepare_dataset"], second)
        assert first.has_started
        assert not second.has_started
    monkeypatch.delenv("OFA_TOY_FAIL")
    with DvcClient(finished) as dvc:
        outcomes(dvc)


class Recorder(Watcher):
    """Sets a flag when the stage reports."""

    def __init__(self):
        super().__init__()
        self.reported = threading.Event()

    def receive(self, event):
        super().receive(event)
        if event.kind == "progress":
            self.reported.set()


@pytest.mark.parametrize(("reason", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_stopped_run_lets_the_stage_end_and_starts_no_other(
    finished, monkeypatch, request, reason, code
):
    monkeypatch.setenv("OFA_TOY_SECONDS", "60")
    # What a run inherits that a script has put into the background.
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, ignored))
    with DvcClient(finished) as dvc:
        watcher = Recorder()
        stopper = threading.Thread(target=lambda: (watcher.reported.wait(60), dvc.stop(reason)))
        stopper.start()
        with pytest.raises(StageFailedError) as caught:
            dvc.ask("force", ["report"], watcher)
        stopper.join()
        assert caught.value.exit_code == code
        with pytest.raises(StageFailedError, match="the run stops"):
            dvc.ask("reproduce", ["prepare_dataset"], Watcher())
    monkeypatch.delenv("OFA_TOY_SECONDS")
    with DvcClient(finished) as dvc:
        outcomes(dvc)


class Broken(Watcher):
    """Cannot show progress: what it shows it on is gone."""

    def receive(self, event):
        super().receive(event)
        if event.kind == "progress":
            raise ConnectionError("nobody answers")


def test_watcher_that_fails_does_not_keep_later_events_from_being_read(finished, monkeypatch):
    monkeypatch.setenv("OFA_TOY_FAIL", "fit_predictor")
    with DvcClient(finished) as dvc:
        dvc.ask("force", ["collect_accuracy"], Broken())
        with pytest.raises(StageFailedError, match="was told to fail"):
            dvc.ask("force", ["fit_predictor"], Broken())
    monkeypatch.delenv("OFA_TOY_FAIL")
    with DvcClient(finished) as dvc:
        outcomes(dvc)


def test_time_in_the_queue_is_nobody_s_work(finished, monkeypatch):
    monkeypatch.setenv("OFA_TOY_SECONDS", "4")
    with DvcClient(finished) as dvc:
        first, second = Recorder(), Watcher()
        busy = threading.Thread(target=dvc.ask, args=("force", ["report"], first))
        busy.start()
        assert first.reported.wait(60)
        asked = time.monotonic()
        dvc.ask("status", ["prepare_dataset"], second)
        busy.join()
    assert second.turn_began - asked > 2


RUN = """
import os, sys
from pathlib import Path
from flows.dvc_client import DvcClient, Watcher
from ofa_pipeline.workspace import hold_workspace
root = Path(sys.argv[1])
with hold_workspace(root, role="run"), DvcClient(root) as dvc:
    dvc.ask("force", ["report"], Watcher())
"""


def wait_until(condition, *, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def holder_of(root, name):
    try:
        return json.loads(lock_path(root, name).read_text())["pid"]
    except (FileNotFoundError, json.JSONDecodeError):
        return None


@pytest.mark.parametrize("victim", ["run", "dvc"])
def test_stage_of_a_killed_run_ends_and_the_next_run_goes_on(finished, victim):
    environment = {**os.environ, "OFA_TOY_SECONDS": "60"}
    environment.pop(RUN_PID_VARIABLE, None)
    before = holder_of(finished, "report")
    run = subprocess.Popen([sys.executable, "-c", RUN, str(finished)], env=environment)
    try:
        wait_until(lambda: holder_of(finished, "report") not in (before, None))
        stage = holder_of(finished, "report")
        parent = int(Path(f"/proc/{stage}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(run.pid if victim == "run" else parent, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{stage}").exists())
    finally:
        run.kill()
        run.wait()
    with DvcClient(finished) as dvc:
        assert outcomes(dvc) == (["report"], []) or outcomes(dvc) == ([], [])
    assert (finished / "artifacts" / "report" / "manifest.json").exists()
