"""A served run that waits for a device elsewhere is suspended until its result comes."""

import json
import logging
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.pipeline import DEVICE_STAGES
from ofa_pipeline.documents import MeasuringTask, read_document
from tests.support.elsewhere import result_of, write_result
from tests.support.mlflow_server import free_port
from tests.support.workspace import read_params, run_command, toy_workspace, write_params

SETTLED = ("PAUSED", "COMPLETED", "FAILED", "CRASHED", "CANCELLED")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def root(tmp_path):
    """A workspace with one device, which is elsewhere."""
    root = toy_workspace(tmp_path / "toy")
    params = read_params(root)
    card = {"runtime": "pytorch", "accelerator": "cpu", "precision": "fp32", "threads": 1}
    card |= {"batch_size": 1, "location": "away"}
    params["devices"] = {"phone": {"card": card, "budget_fractions": [0.5]}}
    write_params(root, params)
    return root


def measured_elsewhere(root):
    """Return what the device brings back."""
    run_command("ofa-pipeline", "device", "export", "phone", "--to", "folder", workspace=root)
    task = read_document(root / "folder" / "manifest.json", MeasuringTask, remake="")
    macs = {network.key: network.macs for network in task.networks}
    return write_result(root / "result.json", result_of(task, lambda key: 0.1 + macs[key] / 1e7))


def ask(server, path, body):
    request = urllib.request.Request(
        f"{server}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def settled(server, *, count):
    """Return the name and message of the state of each run of the pipeline.

    Waits until there are so many, and none is about to change.
    """
    chosen = {"flows": {"name": {"any_": ["once-for-all"]}}, "sort": "EXPECTED_START_TIME_ASC"}
    deadline = time.monotonic() + 240
    while True:
        runs = ask(server, "flow_runs/filter", chosen)
        found = [run["state"] for run in runs if not run["auto_scheduled"]]
        if len(found) == count and all(state["type"] in SETTLED for state in found):
            return [(state["name"], state["message"] or "") for state in found]
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def logged_as_error(server):
    """Return what any run so far has logged as an error, or worse."""
    chosen = {"logs": {"level": {"ge_": logging.ERROR}}, "limit": 200}
    return [entry["message"] for entry in ask(server, "logs/filter", chosen)]


def task_states(server):
    """Return the states of the tasks of stages, by their names."""
    found = {}
    for run in ask(server, "task_runs/filter", {}):
        found.setdefault(run["name"].rpartition(" ")[2], set()).add(run["state"]["name"])
    return found


@contextmanager
def serving(root, shown):
    """Serve the deployments of a workspace, whose device is awaited; gives the server's address."""
    port = free_port()
    program = Path(sys.executable).with_name("ofa-pipeline")
    with shown.open("w") as file:
        served = subprocess.Popen(
            [program, "serve", "--port", str(port)],
            cwd=root,
            env={
                **os.environ,
                "OFA_TOY_AWAIT": "profile_latency@phone",
                "PREFECT_RUNNER_POLL_FREQUENCY": "1",
                "PREFECT_LOGGING_TO_API_ENABLED": "true",
            },
            stdout=file,
            stderr=file,
        )
    try:
        while "serving" not in shown.read_text():
            assert served.poll() is None, shown.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        served.terminate()
        served.wait(timeout=120)


def test_a_served_run_is_suspended_and_goes_on_when_the_result_is_imported(root, tmp_path):
    with serving(root, tmp_path / "shown.txt") as server:
        words = ("deployment", "run", "once-for-all/scheduled")
        for count in (1, 2):
            run_command("prefect", *words, workspace=root, PREFECT_API_URL=server)
            found = settled(server, count=count)
        (waits, what_to_do), (ended, why) = found
        assert (waits, ended) == ("Suspended", "Awaited"), found
        assert "waits for somebody who measures elsewhere" in what_to_do
        assert "waits for the same already" in why
        states = task_states(server)
        for stage in DEVICE_STAGES:
            assert states[f"{stage}@phone"] == {"Awaited"}
        imported = run_command(
            "ofa-pipeline", "device", "import", "phone", measured_elsewhere(root), workspace=root
        )
        assert "Next:" not in imported.stdout
        # Where Prefect's server was too busy to answer `import`, who serves the run looks again.
        went_on, deadline = "Suspended", time.monotonic() + 240
        while went_on == "Suspended":
            assert time.monotonic() < deadline, imported.stdout
            [(went_on, _), _] = settled(server, count=2)
        assert went_on == "Completed", imported.stdout
        assert logged_as_error(server) == []
    assert "register@phone" in (root / "calls.txt").read_text().split()
    assert list((root / "scratch" / "waiting").iterdir()) == []
