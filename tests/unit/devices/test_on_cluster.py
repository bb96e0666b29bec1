"""Measuring on a node of a Ray cluster: one that is started here, and offers a device."""

import gc
import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.compute import cluster, nodes
from ofa_pipeline.devices.elsewhere import (
    ElsewhereStore,
    NetworkToMeasure,
    check_node,
    check_on_node,
    check_result,
    following,
    measure_on_node,
    measured,
    on_cluster,
    read_result,
    search_key,
    write_folder,
)
from ofa_pipeline.devices.runtimes import find_runtime
from ofa_pipeline.documents import Awaited, MeasurementSettings
from ofa_pipeline.errors import ClusterError, DeviceError
from ofa_pipeline.latency import ElsewhereBench
from ofa_pipeline.progress import Reporter
from tests.support.elsewhere import clean_python
from tests.support.runtimes import Settings, tiny_space, tiny_subnet

PHONE = Settings(location="ray://phone")
CACHE = Path.home() / ".cache" / "ofa-pipeline"
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def address():
    """A cluster whose one node offers a phone, which this process has joined."""
    start = cluster._options_to_start

    @contextmanager
    def with_device():
        with start() as options:
            yield options | {
                "num_cpus": 1,
                "resources": {"phone": 1},
                "_system_config": {
                    "health_check_initial_delay_ms": 1000,
                    "health_check_period_ms": 1000,
                },
            }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "_options_to_start", with_device)
        with cluster.joined_cluster("local") as ray:
            yield ray.get_runtime_context().gcs_address
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()  # Ray does not wait for the processes that it has ended


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return clean_python(tmp_path_factory.mktemp("python") / "venv", ("onnxruntime", "numpy"))


@pytest.fixture
def exported(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "WAIT_S", 0.1)
    network = tiny_subnet()
    task = write_folder(
        tmp_path / "folder",
        [
            NetworkToMeasure(keys=(f"network {index}",), network=network, resolution_px=16, macs=1)
            for index in range(4)
        ],
        device=f"phone-{os.getpid()}",
        awaited=Awaited(round="search"),
        settings=PHONE,
        measurement=MeasurementSettings(warmup_runs=1, timed_runs=2),
    )
    yield tmp_path / "folder", task
    shutil.rmtree(CACHE / task.id[:12], ignore_errors=True)


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_search_gets_its_measurements_from_the_node_which_keeps_nothing(address, tmp_path):
    ray, held = cluster.import_ray(), tmp_path / "held"

    def hold():
        held.touch()
        for _ in range(300):
            if not held.exists():
                return
            time.sleep(0.1)

    others = ray.remote(num_cpus=0, resources={"phone": 1})(hold).remote()
    while not held.exists():
        time.sleep(0.1)
    events = []

    def note(event):
        events.append(event)
        if "in use by another measurement" in (event.label or ""):
            held.unlink()

    space, store = tiny_space(), ElsewhereStore(Layout(tmp_path), "phone", cluster=address)
    bench = ElsewhereBench(
        store=store,
        settings=PHONE,
        space=space,
        num_classes=3,
        warmup_runs=1,
        timed_runs=2,
        reporter=Reporter(note),
    )
    archs = (space.smallest, space.largest)
    result = store.result(bench.ask_for(Awaited(round="search", archs=archs)))
    ray.get(others)
    assert set(measured(result)) == {search_key(arch, num_classes=3) for arch in archs}
    assert not held.exists(), "it waited for the other, and said so"
    assert [event.done for event in events if event.total][-1] == 2
    assert not (CACHE / result.task.id[:12]).exists()


def test_a_check_measures_on_the_node_which_keeps_nothing(address, exported):
    folder, task = exported
    path = check_on_node(PHONE, folder, task, cluster=address)
    check_result(read_result(path), task, path=path)
    assert read_result(path).load.num_cores == os.cpu_count()
    assert not list(CACHE.glob("check-*"))


def test_what_was_measured_before_the_worker_died_is_not_measured_again(
    address, exported, python, tmp_path
):
    folder, task = exported
    flag = tmp_path / "flag"
    dies = script(
        tmp_path / "python",
        f"if [ ! -e {flag} ]; then touch {flag}; "
        f"{python} measure.py | head -n 1; kill -9 $PPID; sleep 60; fi\n"
        f'{python} "$@" | tee {tmp_path}/second',
    )
    settings = Settings(location="ray://phone", python=dies)
    path = measure_on_node(settings, folder, task, cluster=address)
    check_result(read_result(path), task, path=path)
    assert "networks were measured before" in (tmp_path / "second").read_text()


@pytest.fixture
def joined(address, tmp_path):
    """Start Ray as a machine of its own that offers a device, as often as it is called."""
    started = []

    def join(device):
        for _ in range(4):  # Ray gives up after 30 seconds, which a busy machine may take
            process = start(device)
            until(lambda ray=process: offers(device) or ray.poll() is not None)
            if offers(device):
                return process
        raise AssertionError(f"no Ray could be started that offers {device}")

    def start(device):
        ray = Path(sys.executable).with_name("ray")
        log = (tmp_path / f"ray-{len(started)}").open("w")
        options = ["--num-cpus=0", f'--resources={{"{device}": 1}}', "--block"]
        with log:
            command = [ray, "start", f"--address={address}", *options]
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield join
    for process in started:
        kill_all(process)


def kill_all(process):
    """Kill a process and all below it, as a machine that goes down does."""
    if process.poll() is None:
        parent = psutil.Process(process.pid)
        for child in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()


def until(happened, *, seconds=60):
    for _ in range(10 * seconds):
        if happened():
            return
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s")


def offers(resource):
    return cluster.import_ray().cluster_resources().get(resource, 0) > 0


def test_a_machine_that_goes_down_and_joins_again_goes_on_where_it_was(
    joined, address, exported, python, tmp_path, monkeypatch
):
    monkeypatch.setattr(on_cluster, "_POLL_S", 0.1)
    folder, task = exported
    first, flag, events = joined("tablet"), tmp_path / "flag", []

    def note(event):
        events.append(event.label or "")
        if "is gone: waiting" in event.label:
            joined("tablet")

    def turn_off():
        until(flag.exists)
        kill_all(first)

    off = threading.Thread(target=turn_off)
    off.start()
    goes_off = script(
        tmp_path / "python",
        f"if [ ! -e {flag} ]; then {python} measure.py | head -n 1; touch {flag}; sleep 60; fi\n"
        f'{python} "$@" | tee {tmp_path}/second',
    )
    settings = Settings(location="ray://tablet", python=goes_off)
    path = measure_on_node(settings, folder, task, cluster=address, reporter=Reporter(note))
    off.join()
    check_result(read_result(path), task, path=path)
    assert "networks were measured before" in (tmp_path / "second").read_text()
    assert [label for label in events if "is gone: waiting for up to 600 seconds" in label]


def test_a_machine_that_does_not_join_again_is_named(
    joined, address, exported, tmp_path, monkeypatch
):
    monkeypatch.setattr(on_cluster, "_POLL_S", 0.1)
    monkeypatch.setattr(on_cluster, "REJOIN_S", 0.5)
    folder, task = exported
    first, flag = joined("watch"), tmp_path / "flag"

    def turn_off():
        until(flag.exists)
        kill_all(first)

    off = threading.Thread(target=turn_off)
    off.start()
    goes_off = script(tmp_path / "python", f"touch {flag}; sleep 60")
    settings = Settings(location="ray://watch", python=goes_off)
    message = r"lost while it measured, and did not join the cluster again within 0.5 seconds: one"
    with pytest.raises(DeviceError, match=message):
        measure_on_node(settings, folder, task, cluster=address)
    off.join()


def test_a_node_that_dies_each_time_is_named_after_two_further_tries(address, exported, tmp_path):
    folder, task = exported
    tries = tmp_path / "tries"
    dies = script(tmp_path / "python", f"echo try >> {tries}; kill -9 $PPID; sleep 60")
    settings = Settings(location="ray://phone", python=dies)
    message = r"the node \S+ with the resource 'phone' was lost 3 times: .*died while it worked"
    with pytest.raises(DeviceError, match=message):
        measure_on_node(settings, folder, task, cluster=address)
    assert tries.read_text().count("try") == 3


def test_what_the_script_complains_of_is_passed_on_at_once(address, exported, tmp_path):
    folder, task = exported
    fails = script(tmp_path / "python", "echo error: no cores >&2; exit 1")
    settings = Settings(location="ray://phone", python=fails)
    with pytest.raises(DeviceError, match=r"^\S+: error: no cores"):
        measure_on_node(settings, folder, task, cluster=address)
    settings = Settings(location="ray://phone", python="no-such-python")
    with pytest.raises(DeviceError, match="no-such-python cannot be run: No such file"):
        measure_on_node(settings, folder, task, cluster=address)


def test_a_node_that_nobody_offers_is_an_error_before_work(address):
    with pytest.raises(ClusterError, match=r"resource 'phon', none has\. Did you mean 'phone'"):
        check_node(Settings(location="ray://phon"), address)
    with pytest.raises(ClusterError, match=r"address: local would start another one\. Set it to"):
        check_node(PHONE, "local")
    assert check_node(PHONE, address)


def test_a_node_without_the_runtime_is_an_error_before_work(address, monkeypatch):
    class Lacking(find_runtime("onnxruntime")):
        package = "no-such-package"

    monkeypatch.setattr(on_cluster, "find_runtime", lambda _: Lacking)
    wanted = r"must have onnxruntime and numpy .* lacks no-such-package\. Install it there: pip"
    with pytest.raises(DeviceError, match=wanted):
        check_node(PHONE, address)
    assert check_node(Settings(location="ray://phone", python="/opt/python"), address)


def test_another_python_there_is_named_with_ours(address, monkeypatch):
    there = {"Python": "3.9.1", "ray": "2.0.0", "numpy": "2", "onnxruntime": "1"}
    monkeypatch.setattr(nodes, "ask_nodes", lambda *_: [there])
    with pytest.raises(ClusterError, match=r"Python \S+ here, 3.9.1 there; ray \S+ here, 2.0.0"):
        check_node(PHONE, address)
