"""A run whose Prefect server is killed ends at once, names it, and the next run goes on."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ofa_pipeline.workspace import checkout_folder
from tests.support.workspace import read_params, run_command, toy_workspace, write_params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A workspace with one device."""
    root = toy_workspace(tmp_path_factory.mktemp("toy"))
    params = read_params(root)
    params["devices"] = dict(list(params["devices"].items())[:1])
    write_params(root, params)
    return root


def wait_for(condition, *, seconds=250.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def server_of(run):
    """Return the server among the children of a run."""
    for child in psutil.Process(run.pid).children():
        if "flows.server" in child.cmdline():
            return child
    return None


def test_killed_server_ends_the_run_and_its_stage_with_a_sentence(root, tmp_path):
    command = [Path(sys.executable).with_name("ofa-pipeline"), "run"]
    environment = {**os.environ, "OFA_TOY_SECONDS": "600", "TMPDIR": str(tmp_path)}
    run = subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_for((root / "calls.txt").exists)
        server = server_of(run)
        stages = [
            child
            for child in psutil.Process(run.pid).children(recursive=True)
            if "toy_stage.py" in child.cmdline()
        ]
        os.kill(server.pid, signal.SIGKILL)
        start = time.monotonic()
        _, said = run.communicate(timeout=60)
        took = time.monotonic() - start
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 1
    assert took < 30
    assert re.search(
        rf"error: Prefect's server .*process {server.pid}.* was killed by SIGKILL", said
    )
    assert "server.log" in said
    assert "fault of the program" not in said
    assert stages
    assert not any(stage.is_running() for stage in stages)
    assert list(tmp_path.glob("ofa-pipeline-run-*")) == []
    assert run_command("ofa-pipeline", "run", workspace=root).returncode == 0


def started(root, *words, output=subprocess.PIPE, **environment):
    """Start a command that shows every warning of Python."""
    return subprocess.Popen(
        [Path(sys.executable).with_name("ofa-pipeline"), *words],
        cwd=root,
        env={**os.environ, "PYTHONWARNINGS": "default", **environment},
        stdout=None if output == subprocess.PIPE else output,
        stderr=output,
        text=True,
    )


def assert_no_warnings_of_python(said):
    assert "never awaited" not in said
    assert re.findall(r"\w+Warning", said) == []


def test_interrupted_run_says_one_line_and_warns_of_nothing(root):
    calls = root / "calls.txt"
    calls.unlink(missing_ok=True)
    run = started(root, "run", OFA_TOY_SECONDS="600")
    try:
        wait_for(calls.exists)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=120)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130
    assert said.splitlines()[-1] == (
        "error: interrupted. Run the same command again to go on from here."
    )
    assert_no_warnings_of_python(said)


@pytest.mark.parametrize(
    ("number", "code", "after_s"),
    [(signal.SIGINT, 0, 0), (signal.SIGINT, 0, 3), (signal.SIGTERM, 143, 3)],
)
def test_served_workspace_ends_without_a_warning(root, tmp_path, number, code, after_s):
    shown = tmp_path / "shown.txt"
    with shown.open("w") as file:
        served = started(root, "serve", "--port", str(free_port()), output=file)
    try:
        wait_for(lambda: f"serving {root}" in shown.read_text())
        time.sleep(after_s)
        served.send_signal(number)
        assert served.wait(timeout=120) == code
    finally:
        served.kill()
        served.wait()
    assert "prefect deployment run once-for-all/scheduled" in shown.read_text()
    assert_no_warnings_of_python(shown.read_text())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_failed_run_says_the_stage_s_words_and_warns_of_nothing(root):
    run = started(root, "run", OFA_TOY_FAIL="list_source")
    _, said = run.communicate(timeout=250)
    assert run.returncode == 1
    assert said.splitlines()[-1].startswith("error: list_source: list_source was told to fail.")
    assert_no_warnings_of_python(said)


def test_server_that_is_not_there_is_told_before_work(root):
    ended = run_command(
        "ofa-pipeline", "run", workspace=root, check=False, PREFECT_API_URL="http://127.0.0.1:9/api"
    )
    assert ended.returncode == 1
    assert "Prefect's server must answer at http://127.0.0.1:9/api (PREFECT_API_URL" in ended.stderr


def test_dead_proxies_and_packages_called_like_ours_are_in_nobody_s_way(root, tmp_path):
    for name in ("flows", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not ours')")
    dead = {f"{kind}_PROXY": "http://127.0.0.1:9" for kind in ("HTTP", "HTTPS")}
    dead |= {"ALL_PROXY": "socks://127.0.0.1:9"}
    dead |= {name.lower(): address for name, address in dead.items()}
    path = f"{tmp_path}:{checkout_folder()}"
    ended = run_command("ofa-pipeline", "run", workspace=root, PYTHONPATH=path, **dead)
    assert "done in" in ended.stdout
