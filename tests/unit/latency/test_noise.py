"""How noisy a machine is: here and elsewhere by the same figures."""

import math
import subprocess
import sys

import pytest

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.devices.elsewhere import ElsewhereStore
from ofa_pipeline.documents import LatencyMeasurement
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.latency import ElsewhereBench, measure_noise, noise_of
from ofa_pipeline.latency.noise import NUM_CHECKS
from tests.support.runtimes import Settings, tiny_space


def measurement(p50_ms, *, is_contended=False):
    rest = {"num_dropped_runs": 0, "reference_ms": 1.0, "reference_p10_ms": 1.0, "slowdown": 1.0}
    return LatencyMeasurement(
        p50_ms=p50_ms,
        p95_ms=p50_ms,
        ci_low_ms=p50_ms,
        ci_high_ms=p50_ms,
        num_runs=60,
        is_contended=is_contended,
        **rest,
    )


def test_a_check_elsewhere_is_one_here_and_what_was_seen_is_noted(tmp_path, monkeypatch):
    def on_this_machine(location, folder, task, *, python, reporter):
        assert (location, python) == ("ssh://host", "python3")
        subprocess.run([sys.executable, folder / "measure.py"], check=True, capture_output=True)
        (path,) = folder.glob("result-*.json")
        return path

    monkeypatch.setattr("ofa_pipeline.latency.elsewhere.check_over_ssh", on_this_machine)
    space, store = tiny_space(), ElsewhereStore(Layout(tmp_path), "server")
    settings = {"num_classes": 3, "warmup_runs": 1, "timed_runs": 4}
    bench = ElsewhereBench(
        store=store, settings=Settings(location="ssh://host"), space=space, **settings
    )
    card, there = bench.check()
    here = measure_noise(Settings(), space, **settings)
    assert store.seen("ssh://host") == card
    assert store.seen("ssh://another") is None
    assert not store.results(), "what a check measures is no part of a profile"
    for noise in (here, there):
        assert len(noise.measurements) == NUM_CHECKS
        assert 0 <= noise.busy_cores <= noise.num_cores
        assert len({one.reference_ms for one in noise.measurements}) == 1
        assert noise.cv >= 0


def test_what_a_host_says_that_is_no_card_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("ofa_pipeline.latency.elsewhere.ask_over_ssh", lambda *_, **__: "Moo!")
    bench = ElsewhereBench(
        store=ElsewhereStore(Layout(tmp_path), "server"),
        settings=Settings(location="ssh://host"),
        space=tiny_space(),
        num_classes=3,
        warmup_runs=1,
        timed_runs=4,
    )
    with pytest.raises(DeviceError, match="must say what it is, but says: 'Moo!'"):
        bench.ask()


def test_noise_of_what_came_back_is_that_of_networks_that_were_measured_again():
    found = {"fit a 0": 1.0, "repeat a 0": 1.1, "repeat a 1": 0.9, "fit b 0": 7.0, "holdout c 0": 3}
    noise = noise_of(
        {key: measurement(ms, is_contended=key == "fit b 0") for key, ms in found.items()}
    )
    assert noise.cv == pytest.approx(0.1)
    assert (noise.num_subnets, noise.num_measurements, noise.num_contended) == (1, 3, 1)
    assert math.isnan(noise_of({"search a 3": measurement(1.0)}).cv)
