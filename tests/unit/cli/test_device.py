"""`ofa-pipeline device`: what it writes, and what it refuses before it writes anything."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.cli import app
from ofa_pipeline.devices import describe_device
from ofa_pipeline.devices.elsewhere import ElsewhereStore
from ofa_pipeline.documents import DeviceProfile, LatencyMeasurement, ReferenceSubnet
from ofa_pipeline.errors import DeviceError, ParamsError
from ofa_pipeline.latency import MachineNoise, reference_arch
from ofa_pipeline.params import load_params

ROOT = Path(__file__).parents[3]
DEVICE = "cpu-onnxruntime"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words):
    return CliRunner().invoke(app, ["device", *words], catch_exceptions=False)


def test_add_writes_the_device_and_remove_takes_it_out(workspace):
    before = (workspace / "params.yaml").read_bytes()
    run("add", "wide", "--runtime", "onnxruntime", "--batch-size", "4", "--budgets-ms", "0.4,0.8")
    added = load_params(workspace / "params.yaml").device("wide")
    assert added.card.batch_size == 4
    assert added.budgets_ms == (0.4, 0.8)
    run("remove", "wide")
    assert (workspace / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--threads", "999"], DeviceError, "the cores that this process may use"),
        (["--accelerator", "cuda"], DeviceError, "is not usable here. To get it"),
        (["--precision", "int3"], ParamsError, "precision"),
        (["--pinning", "big"], ParamsError, "numbers of cores"),
        (["--pinning", "1,0"], ParamsError, "ascending without repeats"),
        (["--pinning", "0", "--threads", "2"], ParamsError, "a core for each of the 2 threads"),
        (["--pinning", "5000"], DeviceError, "name cores that this process may use"),
        (["--budgets-ms", "fast"], ParamsError, "numbers with commas"),
        (["--budgets-ms", "1", "--budget-fractions", "0.5"], ParamsError, "not both"),
    ],
)
def test_what_the_machine_cannot_serve_is_not_written(workspace, words, error, message):
    before = (workspace / "params.yaml").read_bytes()
    if "cuda" in words:
        pytest.importorskip("torch")
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU here")
    with pytest.raises(error, match=message):
        run("add", "phone", "--runtime", "onnxruntime", *words)
    assert (workspace / "params.yaml").read_bytes() == before


def test_what_stays_of_a_removed_device_is_listed(workspace):
    kept = [Layout(workspace).measured(DEVICE), Layout(workspace).latency(DEVICE)]
    for folder in kept:
        folder.mkdir(parents=True)
    shown = run("remove", DEVICE).stdout
    assert all(str(folder.relative_to(workspace)) in shown for folder in kept)


def test_the_cores_of_a_card_are_written(workspace):
    core = min(os.sched_getaffinity(0))
    run("add", "pinned", "--runtime", "onnxruntime", "--pinning", str(core))
    assert load_params(workspace / "params.yaml").device("pinned").card.pinning == (core,)


def test_the_options_of_a_card_are_written(workspace):
    words = ["--option", "allow_spinning=false"]
    words += ["--option", "graph_optimization_level=ORT_ENABLE_BASIC"]
    run("add", "told", "--runtime", "onnxruntime", *words)
    assert load_params(workspace / "params.yaml").device("told").card.options == {
        "allow_spinning": False,
        "graph_optimization_level": "ORT_ENABLE_BASIC",
    }


@pytest.mark.parametrize("location", [(), ("--location", "away")])
@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["turbo=true"], DeviceError, "those that it knows .*, got 'turbo'"),
        (["allow_spinning=maybe"], DeviceError, "must be one of true, false, got maybe"),
        (["allow_spinning"], ParamsError, "--option must be NAME=VALUE"),
        (["allow_spinning=true", "allow_spinning=false"], ParamsError, "is given twice"),
    ],
)
def test_an_option_that_cannot_be_is_refused(workspace, location, words, error, message):
    before = (workspace / "params.yaml").read_bytes()
    given = [word for option in words for word in ("--option", option)]
    with pytest.raises(error, match=message):
        run("add", "told", "--runtime", "onnxruntime", *location, *given)
    assert (workspace / "params.yaml").read_bytes() == before


def profile_of(workspace, **changes):
    card = describe_device(load_params(workspace / "params.yaml").device(DEVICE).card)
    keep_profile(workspace, DEVICE, card.model_copy(update=changes))
    return card


def keep_profile(workspace, name, card):
    params = load_params(workspace / "params.yaml")
    document = DeviceProfile(
        device=card,
        fingerprint=card.fingerprint,
        reference=ReferenceSubnet(arch=reference_arch(params.space.build()), latency_ms=0.1),
        smallest_ms=0.1,
        largest_ms=0.2,
        measurement={},
    )
    folder = Layout(workspace).latency(name)
    folder.mkdir(parents=True)
    write_json(folder / Layout.DEVICE_PROFILE, document.to_dict())


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "of this machine as it is"),
        ({"governor": "powersave"}, "stale: governor powersave against unknown"),
        ({"runtime_version": "1.0"}, "stale: runtime_version 1.0 against"),
        ({"hardware": "6502"}, "stale: hardware 6502 against"),
        ({"cores": 4096}, "stale: cores 4096 against"),
        ({"cores": None}, "of this machine as it is"),  # as an earlier version wrote it
    ],
)
def test_list_says_whether_a_profile_is_stale(workspace, monkeypatch, changes, state):
    monkeypatch.setattr("ofa_pipeline.devices.machine.clock_governor", lambda: None)
    profile_of(workspace, **changes)
    found = run("list").stdout
    assert state in found
    assert "none yet" in found  # of the other device


def noise(p50_ms, *, busy_cores=0.0):
    one = {"p95_ms": 1.0, "ci_low_ms": 1.0, "ci_high_ms": 1.0, "num_runs": 60}
    rest = {"num_dropped_runs": 0, "reference_ms": 1.0, "reference_p10_ms": 1.0, "slowdown": 1.0}
    return MachineNoise(
        measurements=tuple(
            LatencyMeasurement(p50_ms=value, is_contended=False, **one, **rest) for value in p50_ms
        ),
        busy_cores=busy_cores,
        num_cores=2,
        threads=1,
    )


@pytest.mark.parametrize(
    ("found", "exit_code", "message"),
    [
        (noise([1.0, 1.01, 1.0]), 0, "fit to measure on"),
        (noise([1.0, 1.2, 1.0]), 1, "measurements repeat badly"),
        (noise([1.0, 1.01, 1.0], busy_cores=2.0), 1, "leave too few cores"),
    ],
)
def test_check_says_whether_the_machine_is_fit(workspace, monkeypatch, found, exit_code, message):
    monkeypatch.setattr("ofa_pipeline.latency.measure_noise", lambda *_, **__: found)
    result = run("check", DEVICE)
    assert result.exit_code == exit_code
    assert message in result.stdout


@pytest.fixture
def server(workspace):
    run("add", "server", "--runtime", "onnxruntime", "--location", "ssh://host")
    card = describe_device(load_params(workspace / "params.yaml").device(DEVICE).card)
    keep_profile(workspace, "server", card)
    return card


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "profile: measured elsewhere (ssh://host)"),
        ({"runtime_version": "9.9"}, "against 9.9"),
        ({"governor": "powersave"}, "governor unknown against powersave"),
        ({"hardware": "6502"}, "against 6502"),
        ({"cores": 4096}, "against 4096"),
    ],
)
def test_check_asks_a_host_and_what_it_saw_is_in_the_list(
    workspace, server, monkeypatch, changes, state
):
    found = server.model_copy(update={"governor": None, **changes})

    def check(bench):
        bench.store.saw(found, "ssh://host")
        return found, noise([1.0, 1.01, 1.0])

    monkeypatch.setattr("ofa_pipeline.latency.ElsewhereBench.check", check)
    result = run("check", "server")
    assert result.exit_code == 0
    assert f"fingerprint: {found.fingerprint}" in result.stdout
    assert state in result.stdout
    assert "measurements of the largest subnet repeat to 0.6%; the machine" in result.stdout
    assert ("stale: " in run("list").stdout) == ("stale: " in result.stdout) == bool(changes)
    assert ("device profile server" in result.stdout) == bool(changes)


def test_another_host_is_not_what_was_seen_of_the_first(workspace, server):
    seen = server.model_copy(update={"hardware": "6502"})
    ElsewhereStore(Layout(workspace), "server").saw(seen, "ssh://another")
    assert "stale" not in run("list").stdout


def test_other_settings_make_the_profile_of_a_device_elsewhere_stale(workspace, server):
    params = workspace / "params.yaml"
    before, _, after = params.read_text().partition("  server:")
    params.write_text(f"{before}  server:{after.replace('batch_size: 1', 'batch_size: 8', 1)}")
    assert "stale: batch_size 1 against 8" in run("list").stdout


def test_how_busy_a_machine_is_may_not_be_seen(workspace, monkeypatch):
    found = noise([1.0, 1.01, 1.0], busy_cores=None)
    monkeypatch.setattr("ofa_pipeline.latency.measure_noise", lambda *_, **__: found)
    assert "how busy the machine is cannot be seen" in run("check", DEVICE).stdout


def test_an_unknown_device_is_named_beside_those_that_there_are(workspace):
    with pytest.raises(ParamsError, match="Known: cpu-onnxruntime, cpu-pytorch"):
        run("check", "nope")
