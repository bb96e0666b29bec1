"""Runs and registrations that are killed end as if nobody had.

A small part of `benchmarks/chaos.py`: the benchmark kills real runs at twenty moments, and races
writers; here stages are toys and kills are few.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ofa_pipeline.artifacts import verify_artifact
from ofa_pipeline.workspace import hold_workspace
from tests.support.workspace import read_params, run_command, toy_workspace, write_params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
DEVICE = "cpu-onnxruntime"
TARGET = f"register@{DEVICE}"
MOMENTS = (1, 3, 8)
"""Stages after whose beginning a kill comes: listing, training, specialize."""
PATIENCE_S = 120.0


def small_workspace(folder):
    root = toy_workspace(folder)
    params = read_params(root)
    params["devices"] = {DEVICE: params["devices"][DEVICE]}
    write_params(root, params)
    return root


def num_begun(root):
    calls = root / "calls.txt"
    return len(calls.read_text().splitlines()) if calls.exists() else 0


def killed(root, *, after, delay_s):
    """Run, and kill the whole process group some time after so many stages have begun."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name("dvc"), "repro", TARGET],
        cwd=root,
        env={**os.environ, "OFA_TOY_SECONDS": "1", "TMPDIR": str(root.parent / "tmp")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    while num_begun(root) < after and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(delay_s)
    was_alive = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return was_alive


def digests_of(root):
    return {
        path.parent.relative_to(root).as_posix(): verify_artifact(path.parent).digest
        for path in sorted((root / "artifacts").rglob("manifest.json"))
        if "seconds" not in path.parts
    }


def test_killed_runs_end_with_the_same_artifacts_and_leave_nothing(tmp_path):
    draw = random.Random(0)
    root = small_workspace(tmp_path / "killed" / "flowers")
    (root.parent / "tmp").mkdir()
    assert all(killed(root, after=after, delay_s=draw.uniform(0, 0.8)) for after in MOMENTS)
    run_command("dvc", "repro", TARGET, workspace=root, TMPDIR=str(root.parent / "tmp"))

    undisturbed = small_workspace(tmp_path / "undisturbed" / "flowers")
    run_command("dvc", "repro", TARGET, workspace=undisturbed)
    assert digests_of(root) == digests_of(undisturbed)
    assert num_begun(root) > num_begun(undisturbed)
    strays = [
        path for path in (root / "artifacts").rglob("*") if path.name.startswith((".", "tmp"))
    ]
    assert [path for path in strays if path.name != ".gitignore"] == []
    assert list((root.parent / "tmp").iterdir()) == []
    with hold_workspace(root, role="run"):  # no lock is left
        pass


def test_killed_registrations_and_flipped_bits_are_survived(tmp_path):
    faults = ("kill_while_registering", "half_made_database", "flipped_bit_in_checkpoint")
    ended = subprocess.run(
        [sys.executable, "benchmarks/chaos.py", "--kills", "2", "--only", *faults],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["fault"] for line in found] == list(faults)
