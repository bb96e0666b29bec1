"""`ofa-pipeline recertify`: what it keeps for the report, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.cli import app
from ofa_pipeline.documents import BundleIndex, Recertification, read_document
from ofa_pipeline.errors import DeviceError, MachineBusyError, WorkspaceBusyError
from ofa_pipeline.exit_codes import EXIT_RESTLESS, exit_code_of
from ofa_pipeline.latency import Canary
from ofa_pipeline.neighbors import Neighbor
from tests.support.documents import measurement
from tests.support.report_workspace import DEVICES, write_report_workspace

ROOT = Path(__file__).parents[3]
DEVICE = DEVICES[0]
HOLD = """
import sys
from pathlib import Path
from ofa_pipeline.workspace import hold_workspace
with hold_workspace(Path(sys.argv[1]), role="run"):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def layout(tmp_path, monkeypatch):
    write_report_workspace(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    return Layout(tmp_path)


def answers(monkeypatch, *, factor, is_contended=False):
    """Let every file of a device take so many times what was certified."""

    def measure_canaries(layout, device, *_, **__):
        index = read_document(layout.subnets(device) / Layout.BUNDLES, BundleIndex, remake="")
        return tuple(
            Canary(
                name=entry.name,
                certified=entry.latency[device],
                measured=measurement(factor * entry.latency[device].p50_ms).model_copy(
                    update={"is_contended": is_contended}
                ),
            )
            for entry in index.bundles
        )

    monkeypatch.setattr("ofa_pipeline.specialize.canaries.measure_canaries", measure_canaries)


def run(*words):
    return CliRunner().invoke(app, ["recertify", *words], catch_exceptions=False).stdout


def kept(layout):
    path = layout.recertified(DEVICE) / Layout.RECERTIFICATION
    return read_document(path, Recertification, remake="")


def test_what_was_measured_is_kept_and_is_the_answer(layout, monkeypatch):
    answers(monkeypatch, factor=1.01)
    assert Recertification.from_dict(json.loads(run(DEVICE, "--json"))) == kept(layout)
    manifest = Manifest.read(layout.recertified(DEVICE), made_by="")
    assert list(manifest.inputs) == [f"artifacts/subnets/{DEVICE}"]


def test_verdicts_are_those_of_the_later_measurement(layout, monkeypatch):
    answers(monkeypatch, factor=1.01)
    shown = run(DEVICE)
    found = kept(layout)
    assert [canary.change for canary in found.canaries] == pytest.approx([0.01, 0.01])
    # Budgets are 0.2 and 0.5 ms above what was certified, p95 is 1.2 times the median.
    by_ms = {canary.certified_ms: canary for canary in found.canaries}
    assert [item.p95 for item in by_ms[2.0].budgets] == ["over", "within_noise"]
    assert (found.num_within("p50"), found.num_within("p95")) == (2, 0)
    assert "within budget now: 2 of 2 (p50), 0 of 2 (p95)" in shown


def test_who_keeps_the_machine_busy_is_named(layout, monkeypatch):
    answers(monkeypatch, factor=1.01, is_contended=True)
    others = (Neighbor(4711, "train", 1.5),)
    monkeypatch.setattr("ofa_pipeline.cli.recertify.busy_neighbors", lambda: others)
    with pytest.raises(MachineBusyError, match=r"train \(process 4711") as caught:
        run(DEVICE)
    assert exit_code_of(caught.value) == EXIT_RESTLESS
    assert f"ofa-pipeline recertify {DEVICE}" in str(caught.value)
    assert not layout.recertified(DEVICE).exists()


def test_what_fails_leaves_what_was_kept(layout, monkeypatch):
    answers(monkeypatch, factor=1.01)
    run(DEVICE)
    before = kept(layout)

    def fail(*_, **__):
        raise DeviceError("never quiet")

    monkeypatch.setattr("ofa_pipeline.specialize.canaries.measure_canaries", fail)
    with pytest.raises(DeviceError, match="never quiet"):
        run(DEVICE)
    assert kept(layout) == before
    assert [path.name for path in layout.recertified(DEVICE).parent.iterdir()] == [DEVICE]


def test_a_device_elsewhere_is_refused_with_those_that_are_here(layout):
    path = layout.root / "params.yaml"
    text = path.read_text().replace(
        "runtime: onnxruntime,", "runtime: onnxruntime, location: away,"
    )
    path.write_text(text)
    with pytest.raises(DeviceError, match=f"{DEVICE} in params.yaml is away.*: cpu-pytorch"):
        run(DEVICE)
    assert not layout.recertified(DEVICE).exists()


def test_it_waits_for_nobody_who_holds_the_workspace(layout, monkeypatch):
    answers(monkeypatch, factor=1.01)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, layout.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    try:
        with pytest.raises(WorkspaceBusyError):
            run(DEVICE)
    finally:
        holder.communicate()
    assert not layout.recertified(DEVICE).exists()
