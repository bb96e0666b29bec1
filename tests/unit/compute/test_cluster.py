"""Joining a Ray cluster: what is in the way, said in a sentence, before work and in time."""

import importlib.util
import socket
import sys

import pytest
import ray

from ofa_pipeline.compute import cluster, software
from ofa_pipeline.compute.nodes import Demand, Node, demand_of
from ofa_pipeline.errors import ClusterError


def join(address):
    with cluster.joined_cluster(address):
        pytest.fail("joined")


@pytest.fixture
def silent():
    """Address of somebody who accepts connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_without_ray_its_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ClusterError, match=r"not installed here.*ofa-pipeline\[cluster\].*local"):
        join("auto")


def test_an_address_where_nobody_is_says_so_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        wanted = rf"answer at {address} \(compute.fan_out.address\), but: nobody accepts.*ray start"
        with pytest.raises(ClusterError, match=wanted):
            join(address)


def test_a_host_that_does_not_exist_says_so(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "no-such-host.invalid:6379")
    with pytest.raises(ClusterError, match=r"answer at no-such-host.invalid:6379 .* but: nobody"):
        join("auto")


def test_who_does_not_answer_is_waited_for_only_so_long(silent, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_S", 0.5)
    with pytest.raises(ClusterError, match=rf"{silent} .* but: no answer within 0.5 seconds"):
        join(silent)


def test_what_ray_says_itself_is_passed_on(silent, monkeypatch):
    monkeypatch.setattr(cluster, "_PROBE", "import sys; print('ConnectionError: no node'); exit(1)")
    with pytest.raises(ClusterError, match=rf"{silent} .* but: ConnectionError: no node\. Start"):
        join(silent)


def test_another_ray_or_python_is_named_with_ours():
    there = {"ray_version": "2.40.0", "python_version": "3.12.4"}
    with pytest.raises(RuntimeError) as mismatch:
        ray._private.utils.check_version_info(there, "this node")
    error = cluster._cannot_join("10.0.0.1:6379", f"RuntimeError: {mismatch.value}")
    ours = f"Ray {ray.__version__} and Python {sys.version.split()[0]} here"
    assert f"{ours}, Ray 2.40.0 and Python 3.12.4 there" in str(error)


def test_differences_name_both_versions():
    here = {"torch": "2.15.0", "numpy": "2.4", "ofa_pipeline": "code 12"}
    there = {"torch": "2.14.1", "numpy": "2.4"}
    assert software.differences(here, there) == [
        "torch 2.15.0 here, 2.14.1 there",
        "ofa_pipeline code 12 here, not installed there",
    ]


def test_other_code_of_ours_is_another_version(tmp_path, monkeypatch):
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = software.find_software(("torch", "no-such-package"), "mine")
    (package / "__init__.py").write_text("VALUE = 2\n")
    after = software.find_software((), "mine")
    assert before["no-such-package"] == "not installed"
    assert before["Python"] == sys.version.split()[0]
    assert before["mine"].startswith("code ")
    assert before["mine"] != after["mine"]
    assert software.find_software((), "nobodys")["nobodys"] == "not installed"


@pytest.mark.parametrize(
    ("resources", "demand", "workers"),
    [
        ({"CPU": 8.0}, Demand(cpus=3, gpus=0), 2),
        ({"CPU": 8.0, "GPU": 4.0}, Demand(cpus=1, gpus=1), 4),
        ({"CPU": 8.0, "GPU": 1.0}, Demand(cpus=1, gpus=0.1), 8),
        ({"CPU": 2.0, "GPU": 4.0}, Demand(cpus=1, gpus=1), 2),
        ({}, Demand(cpus=1, gpus=0), 0),
    ],
)
def test_workers_that_a_node_has_room_for(resources, demand, workers):
    assert demand.workers_on(Node(node_id="1", host="a", resources=resources)) == workers


def test_workers_take_gpus_where_there_are_some():
    nodes = [
        Node(node_id="1", host="a", resources={"CPU": 8.0}),
        Node(node_id="2", host="b", resources={"CPU": 8.0, "GPU": 2.0}),
    ]
    assert demand_of(nodes, threads=4, gpus_per_worker=None) == Demand(cpus=1, gpus=1.0)
    assert demand_of(nodes[:1], threads=4, gpus_per_worker=None) == Demand(cpus=4, gpus=0.0)
    assert demand_of(nodes, threads=4, gpus_per_worker=0) == Demand(cpus=4, gpus=0.0)
