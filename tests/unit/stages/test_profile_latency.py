import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from ofa_pipeline.artifacts import Layout, verify_artifact
from ofa_pipeline.devices import LocalDevice
from ofa_pipeline.errors import DeviceError, MissingArtifactError
from ofa_pipeline.latency import load_latency_profile
from ofa_pipeline.params import load_params
from ofa_pipeline.stages import StageContext, find_stage, missing_outside, run_stage
from ofa_pipeline.tables import LATENCY_SCHEMA, read_table
from tests.support.runtimes import MadeUpNetwork, MadeUpRuntime, MadeUpTime
from tests.support.synthetic import true_latency_ms

ROOT = Path(__file__).parents[3]
DEVICE = "cpu-onnxruntime"


@pytest.fixture
def context(tmp_path):
    (tmp_path / "artifacts" / "dataset").mkdir(parents=True)
    classes = tmp_path / "artifacts" / "dataset" / "classes.json"
    classes.write_text(json.dumps({"class_names": ["a", "b", "c"]}))
    params = load_params(ROOT / "params.yaml")
    latency = params.latency.model_copy(update={"num_subnets": 10, "num_holdout": 5})
    return StageContext(
        layout=Layout(tmp_path),
        params=params.model_copy(update={"latency": latency}),
        item=DEVICE,
    )


class FakeBench:
    """Networks of known latency on a made-up clock instead of real ones."""

    def __init__(self, monkeypatch, context):
        self.space = context.params.space.build()
        self.time = MadeUpTime()
        self.runtime = MadeUpRuntime(self.time)
        self.num_measured = 0
        self.fail_after = None
        stage, bench = "ofa_pipeline.stages.profile_latency", "ofa_pipeline.latency.bench"
        monkeypatch.setattr(f"{stage}.describe_device", lambda _: self.runtime.card)
        monkeypatch.setattr(f"{bench}.build_measured_subnet", self.build)
        monkeypatch.setattr(f"{bench}.open_device", self.open_device)
        monkeypatch.setattr("ofa_pipeline.devices.quiet.OBSERVATION_S", 0.0)
        # Do not wait for a turn behind a measurement that is going on.
        monkeypatch.setattr(tempfile, "tempdir", str(context.layout.root))

    def build(self, space, arch, *, num_classes):
        del num_classes
        if self.num_measured == self.fail_after:
            raise KeyboardInterrupt
        self.num_measured += 1
        return MadeUpNetwork(float(true_latency_ms(space, space.genes([arch]))[0]))

    def open_device(self, settings, reference, **options):
        return LocalDevice(self.runtime, reference, clock=self.time.clock(), **options)


@pytest.fixture
def bench(monkeypatch, context):
    return FakeBench(monkeypatch, context)


def test_the_artifact_holds_samples_model_and_card(context, bench):
    folder = run_stage("profile_latency", context)
    manifest = verify_artifact(folder)
    assert set(manifest.files) == {"samples.parquet", "model.json", "profile.json"}
    table = read_table(folder / "samples.parquet", LATENCY_SCHEMA)
    roles = table["role"].to_pylist()
    assert {role: roles.count(role) for role in roles} == {
        "reference": 1,
        "fit": 10,
        "holdout": 5,
        "repeat": 8,
    }
    report = json.loads((folder / "model.json").read_text())["report"]
    assert report["holdout"]["num_subnets"] == 5
    assert report["noise"]["cv"] == pytest.approx(0, abs=1e-3)


def test_latencies_are_those_of_the_subnets(context, bench):
    profile = load_latency_profile(run_stage("profile_latency", context))
    space = bench.space
    expected = true_latency_ms(space, space.genes([space.smallest, space.largest]))
    assert profile.smallest_ms == pytest.approx(expected[0], rel=1e-3)
    assert profile.largest_ms == pytest.approx(expected[1], rel=1e-3)


def test_an_interrupted_run_goes_on_where_it_was(context, bench):
    bench.fail_after = 9
    with pytest.raises(KeyboardInterrupt):
        run_stage("profile_latency", context)
    assert not context.layout.latency(DEVICE).exists()
    bench.fail_after, measured = None, bench.num_measured
    run_stage("profile_latency", context)
    # One for the reference network of each run.
    assert bench.num_measured == 24 + 2
    assert measured == 9
    assert not list((context.layout.root / "scratch" / "profile_latency").iterdir())


def test_a_torn_last_row_is_measured_again(context, bench):
    bench.fail_after = 9
    with pytest.raises(KeyboardInterrupt):
        run_stage("profile_latency", context)
    (rows,) = context.layout.root.glob("scratch/profile_latency/*/*.jsonl")
    rows.write_text(rows.read_text()[:-30])
    bench.fail_after = None
    run_stage("profile_latency", context)
    assert bench.num_measured == 24 + 3


def test_no_clock_host_or_path_is_in_the_artifact(context, bench):
    folder = run_stage("profile_latency", context)
    text = (folder / "profile.json").read_text() + (folder / "manifest.json").read_text()
    assert str(context.layout.root) not in text


def test_a_missing_dataset_says_which_stage_makes_it(context, bench):
    (context.layout.dataset / "classes.json").unlink()
    with pytest.raises(MissingArtifactError, match="prepare_dataset"):
        run_stage("profile_latency", context)


def test_a_device_that_is_not_here_fails_before_any_work(context):
    device = context.params.devices[DEVICE]
    card = device.card.model_copy(update={"threads": 4096})
    devices = {DEVICE: device.model_copy(update={"card": card})}
    broken = replace(context, params=context.params.model_copy(update={"devices": devices}))
    with pytest.raises(DeviceError, match="threads"):
        run_stage("profile_latency", broken)


def test_a_profile_of_what_the_machine_is_no_more_is_stale(context, bench, monkeypatch):
    row, profile = find_stage("profile_latency"), "ofa_pipeline.latency.profile.describe_device"
    asked = {"layout": context.layout, "params": context.params}
    assert missing_outside(row, DEVICE, **asked) == ()  # nothing was profiled yet
    run_stage("profile_latency", context)
    monkeypatch.setattr(profile, lambda _: bench.runtime.card)
    assert missing_outside(row, DEVICE, **asked) == ()
    other = bench.runtime.card.model_copy(update={"hardware": "another", "driver": "1.2"})
    monkeypatch.setattr(profile, lambda _: other)
    hardware, driver = missing_outside(row, DEVICE, **asked)
    assert "against another" in hardware
    assert driver == "driver unknown against 1.2"


def test_a_host_that_became_another_makes_its_profile_stale(context, bench, monkeypatch):
    run_stage("profile_latency", context)
    card = load_latency_profile(context.layout.latency(DEVICE)).card
    settings = context.params.devices[DEVICE].card.model_copy(
        update={"location": "ssh://host", "runtime": card.runtime}
    )
    device = context.params.devices[DEVICE].model_copy(update={"card": settings})
    params = context.params.model_copy(update={"devices": {DEVICE: device}})
    found = []
    ask = "ofa_pipeline.stages.profile_latency.ElsewhereBench.ask"
    monkeypatch.setattr(ask, lambda _: found[-1])

    def stale():
        row = find_stage("profile_latency")
        return missing_outside(row, DEVICE, layout=context.layout, params=params)

    for key, value in (("runtime_version", "9"), ("governor", "powersave"), ("hardware", "other")):
        found.append(card.model_copy(update={key: value}))
        (reason,) = stale()
        assert reason.startswith(key)
        assert reason.endswith(value)
    found.append(card)
    assert stale() == ()
    found.append(None)  # it cannot be reached
    assert stale() == ()
