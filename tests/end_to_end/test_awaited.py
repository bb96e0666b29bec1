"""A run with a device elsewhere goes as far as it can, says what is awaited, and goes on."""

import sqlite3

import pytest

from ofa_pipeline.exit_codes import EXIT_AWAITED
from tests.support.workspace import run_command, toy_workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
AWAITED = "search@cpu-pytorch"


def test_a_device_is_profiled_without_training(tmp_path):
    root = toy_workspace(tmp_path)
    awaited = "profile_latency@cpu-pytorch"
    words = ("ofa-pipeline", "device", "profile", "cpu-pytorch")
    ended = run_command(*words, workspace=root, check=False, OFA_TOY_AWAIT=awaited)
    assert ended.returncode == EXIT_AWAITED, ended.stderr
    calls = dict.fromkeys((root / "calls.txt").read_text().split())
    assert list(calls) == ["list_source", "prepare_dataset", awaited]


def test_a_run_that_waits_for_a_device_serves_the_others_and_goes_on(tmp_path):
    root = toy_workspace(tmp_path)
    ended = run_command("ofa-pipeline", "run", workspace=root, check=False, OFA_TOY_AWAIT=AWAITED)
    assert ended.returncode == EXIT_AWAITED, ended.stderr
    assert f"awaited: {AWAITED}: {AWAITED} waits for somebody" in ended.stderr
    assert "error" not in ended.stderr
    calls = (root / "calls.txt").read_text().split()
    assert "register@cpu-onnxruntime" in calls
    assert {"specialize@cpu-pytorch", "report"}.isdisjoint(calls)
    with sqlite3.connect(root / ".prefect" / "prefect.db") as records:
        states = list(records.execute("SELECT state_type, state_name FROM flow_run"))
    records.close()
    assert states == [("COMPLETED", "Awaited")]
    (root / "calls.txt").unlink()
    run_command("ofa-pipeline", "run", "--device", "cpu-pytorch", workspace=root)
    calls = (root / "calls.txt").read_text().split()
    after = ["list_source", AWAITED, "specialize@cpu-pytorch", "register@cpu-pytorch", "report"]
    assert list(dict.fromkeys(calls)) == after  # a toy's report is logged nowhere: made again
