"""Work on a Ray cluster: one that is started once, on two cores of this machine."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
import torch

from ofa_pipeline.artifacts import Manifest
from ofa_pipeline.compute import cluster, nodes, ray_executor, run_on_node, software
from ofa_pipeline.errors import ClusterError
from ofa_pipeline.exit_codes import EXIT_TERMINATED
from ofa_pipeline.progress import Reporter
from ofa_pipeline.stages import run_stage
from tests.support.ray_work import Number, obey
from tests.support.trained_workspace import context_of, prepared_workspace

ROOT = Path(__file__).parents[3]
THREADS = 1
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")


NUMBERS = [Number(value) for value in range(6)]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A cluster of two cores, which this process has joined."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "usable_cores", lambda: 2)
        start = cluster._options_to_start

        @contextmanager
        def with_devices():
            with start() as options:
                yield options | {"resources": {"phone": 1, "tablet": 2}}

        patch.setattr(cluster, "_options_to_start", with_devices)
        with cluster.joined_cluster("local") as ray:
            yield ray.get_runtime_context().gcs_address
    torch.set_num_threads(before)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()  # Ray does not wait for the processes that it has ended


@pytest.fixture(scope="module")
def told():
    """The messages and the seconds that the executor reports."""
    return [], []


@pytest.fixture(scope="module")
def opened(address, told, tmp_path_factory):
    messages, spent = told
    with ray_executor(
        address=address,
        gpus_per_worker=None,
        threads=THREADS,
        folder=tmp_path_factory.mktemp("workspace"),
        reporter=Reporter(lambda event: messages.append(event.label)),
        spend=lambda cpu_s, on_cuda: spent.append((cpu_s, on_cuda)),
    ) as executor:
        yield executor


def test_every_item_comes_with_its_result_from_two_processes(opened, told):
    results = dict(opened.run(obey, NUMBERS))
    assert [results[item][0] for item in NUMBERS] == [0, 1, 4, 9, 16, 25]
    processes = {pid for _, pid, _ in results.values()}
    assert os.getpid() not in processes
    assert len(processes) <= 2
    assert len(told[1]) == len(NUMBERS)
    assert all(cpu_s > 0 and not on_cuda for cpu_s, on_cuda in told[1])
    again = {pid for _, (_, pid, _) in opened.run(obey, NUMBERS)}
    assert again <= processes, "what was loaded is used again"


def test_nothing_is_started_for_no_items(opened):
    assert list(opened.run(lambda: pytest.fail("made"), [])) == []


def test_an_error_keeps_its_kind_and_names_item_and_machine(opened):
    def fail(value):
        raise ValueError(f"{value} is too large")

    with pytest.raises(ValueError, match="4 is too large") as caught:
        list(opened.run(obey, [Number(4, fail)]))
    assert caught.value.__notes__ == [
        f"It happened while working on number 4, on {socket.gethostname()}."
    ]


def test_whoever_stops_early_leaves_no_worker_at_work(opened, tmp_path):
    def slow(value):
        (tmp_path / str(os.getpid())).touch()
        if value:
            threading.Event().wait()
        return value

    results = opened.run(obey, [Number(value, slow) for value in range(3)])
    next(results)
    results.close()
    opened.close()
    pids = [int(path.name) for path in tmp_path.iterdir()]
    _, alive = psutil.wait_procs([psutil.Process(p) for p in pids if psutil.pid_exists(p)], 30)
    assert alive == []


def test_workers_compute_with_the_torch_settings_of_this_process(opened):
    def look(_):
        return torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        [(_, settings)] = opened.run(obey, [Number(0, look)])
    finally:
        torch.use_deterministic_algorithms(False)
    assert settings == (THREADS, True)


def test_items_are_tried_again_when_a_worker_dies_and_named_when_all_do(opened, told, tmp_path):
    def die(value):
        if value == 5 or not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    messages, _ = told
    messages.clear()
    once = Number(0, die)
    assert list(opened.run(obey, [once])) == [(once, 0)]
    [message] = messages
    assert message.startswith("number 0: the worker died while working on it, it is tried again (1")
    assert "Worker unexpectedly exits" in message
    with pytest.raises(ClusterError, match="number 5: the worker on the Ray cluster died 3 times"):
        list(opened.run(obey, [Number(5, die)]))


def test_a_full_cluster_is_told_and_who_has_not_begun_in_the_end_is_ended(
    opened, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys.modules["ofa_pipeline.compute.ray_executor"], "PATIENCE_S", 0.0)
    opened.close()

    def hold(name):
        (tmp_path / f"{name} is held").touch()
        for _ in range(300):
            if (tmp_path / name).exists():
                return
            time.sleep(0.1)

    ray, told = cluster.import_ray(), []
    holders = [ray.remote(num_cpus=1)(hold).remote(name) for name in ("one", "two")]
    while len(list(tmp_path.glob("*is held"))) < len(holders):
        time.sleep(0.1)

    def make_room(event):
        told.append(event.label)
        (tmp_path / "one").touch()

    monkeypatch.setattr(opened, "_reporter", Reporter(make_room))
    results = dict(opened.run(obey, NUMBERS[:2]))
    assert [results[item][0] for item in NUMBERS[:2]] == [0, 1]
    [message] = told
    assert message.startswith("no worker on the Ray cluster could begin")
    assert (len(opened._pool.idle), opened._pool.starting) == (1, {})
    (tmp_path / "two").touch()
    ray.get(holders)


def test_workers_that_cannot_begin_are_an_error(opened, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    monkeypatch.setattr(Path, "cwd", lambda: gone)
    opened.close()
    with pytest.raises(ClusterError, match=r"3 in a row died before: .*gone"):
        list(opened.run(obey, NUMBERS[:1]))


def test_gpus_that_the_cluster_lacks_are_an_error(address, tmp_path):
    wanted = r"gpus_per_worker: 1 needs a cluster with GPUs, but Ray knows of none on \S+. Set"
    with (
        pytest.raises(ClusterError, match=wanted),
        ray_executor(address=address, gpus_per_worker=1, threads=1, folder=tmp_path),
    ):
        pytest.fail("opened")


def test_more_threads_than_a_node_has_are_an_error(address, tmp_path):
    wanted = r"a worker needs a node with 3 CPUs .* has 2 CPUs"
    with (
        pytest.raises(ClusterError, match=wanted),
        ray_executor(address=address, gpus_per_worker=None, threads=3, folder=tmp_path),
    ):
        pytest.fail("opened")


def test_another_package_version_there_is_named_with_ours(address, tmp_path, monkeypatch):
    here = software.find_software

    def other(packages, own):
        return {**here(packages, own), "torch": "1.0"}

    monkeypatch.setattr(software, "find_software", other)
    monkeypatch.setattr(nodes.software, "look_around", lambda *_: (here(*_[:2]), True))
    wanted = rf"must have what this machine has: torch 1\.0 here, {version('torch')} there"
    with (
        pytest.raises(ClusterError, match=wanted),
        ray_executor(address=address, gpus_per_worker=None, threads=1, folder=tmp_path),
    ):
        pytest.fail("opened")


def test_a_workspace_that_a_node_does_not_see_is_an_error(address, tmp_path, monkeypatch):
    monkeypatch.setattr(
        nodes.software, "look_around", lambda *_: (software.find_software(*_[:2]), False)
    )
    with (
        pytest.raises(ClusterError, match=rf"share, but \S+ does not see {tmp_path}. Move"),
        ray_executor(address=address, gpus_per_worker=None, threads=1, folder=tmp_path),
    ):
        pytest.fail("opened")


STAGE = """
import pathlib, sys
from ofa_pipeline.compute import ray_executor
from ofa_pipeline.exit_codes import exit_on_sigterm
from tests.support.ray_work import Number, obey
exit_on_sigterm()
def wait(_):
    import os, time
    pathlib.Path("pids").write_text(str(os.getppid()))
    time.sleep(600)
with ray_executor(address="local", gpus_per_worker=0, threads=1, folder=pathlib.Path.cwd()) as one:
    list(one.run(obey, [Number(1, wait)]))
"""


def test_sigterm_ends_a_run_with_its_code_and_leaves_no_process(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", STAGE], cwd=tmp_path, env=environment) as stage:
        while not (tmp_path / "pids").exists():
            assert stage.poll() is None
            time.sleep(0.2)
        started = psutil.Process(stage.pid).children(recursive=True)
        stage.send_signal(signal.SIGTERM)
        assert stage.wait(60) == EXIT_TERMINATED
    assert len(started) > 3
    _, alive = psutil.wait_procs(started, 30)
    assert alive == []


def test_who_works_on_a_device_is_alone_there(address, tmp_path):
    def measure():
        with (tmp_path / "held").open("x"):
            time.sleep(0.5)
        (tmp_path / "held").unlink()
        return os.getpid()

    ray = cluster.import_ray()
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(run_on_node, ray, "phone", measure) for _ in range(3)]
        assert os.getpid() not in [each.result() for each in asked]

    def fail():
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        run_on_node(ray, "phone", fail)


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("phon", "must have the resource 'phon', none has. Did you mean 'phone'.*--resources"),
        ("tablet", r"exactly one of the resource 'tablet'.*found 2 of it on \S+\. Start"),
    ],
)
def test_a_device_is_one_node_that_has_one_of_it(address, resource, message):
    with pytest.raises(ClusterError, match=message):
        run_on_node(cluster.import_ray(), resource, os.getpid)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    values = prepared_workspace(root)
    for phase in values["phases"]:
        run_stage("train_supernet", context_of(root, values, phase))
    return root, values


def test_a_stage_writes_the_same_table_as_alone_and_counts_all_seconds(address, trained):
    root, values = trained
    tables, seconds = [], []
    for compute in ({}, {"fan_out": {"executor": "ray", "address": address}}):
        folder = run_stage("collect_accuracy", context_of(root, values | {"compute": compute}))
        tables.append((folder / "accuracy.parquet").read_bytes())
        notes = Manifest.read(root / "artifacts/seconds/collect_accuracy", made_by="test")
        seconds.append(notes.summary["cpu_s"])
    assert tables[0] == tables[1]
    assert seconds[1] > seconds[0] / 4, "the workers' seconds are counted"


def test_an_interrupted_stage_goes_on_on_the_cluster(address, trained):
    root, values = trained
    values = values | {"accuracy": values["accuracy"] | {"seed": 3}}
    fan_out = {"compute": {"fan_out": {"executor": "ray", "address": address}}}

    def stop(event):
        if event.done == 4:
            raise KeyboardInterrupt

    context = context_of(root, values | fan_out)
    with pytest.raises(KeyboardInterrupt):
        run_stage("collect_accuracy", replace(context, reporter=Reporter(stop, interval_s=0)))
    events = []
    reporter = Reporter(events.append, interval_s=0)
    run_stage("collect_accuracy", replace(context_of(root, values), reporter=reporter))
    assert [event.done for event in events] == list(range(5, 16))
