import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from ofa_pipeline.devices import LocalDevice, ReferenceNetwork, build_runtime, open_device
from ofa_pipeline.errors import DeviceError
from tests.support.runtimes import (
    MadeUpNetwork,
    MadeUpRuntime,
    MadeUpTime,
    Settings,
    tiny_space,
    tiny_subnet,
)

ROOT = Path(__file__).parents[3]
NOISE = np.random.default_rng(0).standard_normal((1, 3, 16, 16), dtype=np.float32)
REFERENCE = ReferenceNetwork(network=tiny_subnet(), resolution_px=16, latency_ms=0.1)


def test_a_local_device_measures_with_its_runtime():
    made_up = MadeUpTime()
    runtime = MadeUpRuntime(made_up)
    reference = ReferenceNetwork(network=MadeUpNetwork(1.0), resolution_px=16)
    device = LocalDevice(runtime, reference, clock=made_up.clock())
    found = device.measure(MadeUpNetwork(0.25), resolution_px=16)
    assert found.p50_ms == pytest.approx(0.25, rel=1e-4)
    assert device.card == runtime.card


@pytest.fixture
def device():
    return open_device(Settings(runtime="pytorch"), REFERENCE)


def test_a_device_answers_for_all_batches_of_a_file(device, tmp_path):
    images = np.random.default_rng(0).standard_normal((5, 3, 20, 20), dtype=np.float32)
    file = tmp_path / device.runtime.network.file_name
    device.runtime.write(tiny_subnet(tiny_space().largest), file, resolution_px=20)
    logits = device.predict(file, iter([images[:2], images[2:]]), resolution_px=20)
    whole = device.predict(file, [images], resolution_px=20)
    assert logits.shape == (5, 3)
    np.testing.assert_allclose(logits, whole, rtol=1e-5, atol=1e-6)


def test_a_batch_that_does_not_fit_into_memory_is_said(tmp_path):
    greedy = open_device(Settings(runtime="pytorch", batch_size=10**9), REFERENCE)
    file = tmp_path / greedy.runtime.network.file_name
    greedy.runtime.write(tiny_subnet(), file, resolution_px=16)
    with pytest.raises(DeviceError, match=r"memory ran out: .*Lower batch_size of the device"):
        greedy.measure(file, resolution_px=16)


def test_a_missing_file_is_refused_by_name(device, tmp_path):
    for run in (device.measure, lambda file, **_: device.predict(file, [], resolution_px=16)):
        with pytest.raises(DeviceError, match=r"lost\.bin must be the file of a network"):
            run(tmp_path / "lost.bin", resolution_px=16)


def test_a_device_is_what_params_describe(device):
    assert device.card == build_runtime(Settings(runtime="pytorch")).card


class TestProcessDevice:
    @pytest.fixture
    def file(self, device, tmp_path):
        file = tmp_path / device.runtime.network.file_name
        device.runtime.write(tiny_subnet(), file, resolution_px=16)
        return file

    @pytest.fixture
    def child(self, device):
        """The process, which runs since there is a device."""
        return psutil.Process(device._child._process.pid)

    def test_its_process_imports_what_it_computes_with_before_it_is_asked(self, child):
        assert child in psutil.Process().children()
        end = time.monotonic() + 60
        while not any("libtorch" in mapped.path for mapped in child.memory_maps()):
            assert time.monotonic() < end
            time.sleep(0.1)

    def test_its_process_computes_with_the_threads_of_the_card_and_ours_with_as_before(
        self, monkeypatch
    ):
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        before = torch.get_num_threads(), dict(os.environ)
        device = open_device(Settings(), REFERENCE)
        child = psutil.Process(device._child._process.pid)
        assert child.environ()["OMP_NUM_THREADS"] == "1"
        assert (torch.get_num_threads(), dict(os.environ)) == before

    def test_it_measures(self, device, file):
        measured = device.measure(file, resolution_px=16)
        assert 0 < measured.ci_low_ms <= measured.p50_ms <= measured.p95_ms
        assert measured.reference_ms == REFERENCE.latency_ms

    def test_a_dead_process_is_named_with_what_it_did_and_the_next_request_starts_another(
        self, device, file, child
    ):
        child.kill()
        expected = rf"process of the runtime pytorch died \(SIGKILL\) while measuring {file}"
        with pytest.raises(DeviceError, match=expected):
            device.measure(file, resolution_px=16)
        assert device.predict(file, [NOISE], resolution_px=16).shape == (1, 3)

    def test_an_interrupted_request_is_not_answered_to_the_next_one(
        self, device, file, child, monkeypatch
    ):
        def interrupt():
            raise KeyboardInterrupt

        monkeypatch.setattr(device._child._connection, "recv", interrupt)
        with pytest.raises(KeyboardInterrupt):
            device.predict(file, [NOISE], resolution_px=16)
        assert not child.is_running()
        assert device.predict(file, [NOISE], resolution_px=16).shape == (1, 3)

    def test_files_in_the_current_folder_are_not_imported(
        self, device, file, tmp_path, monkeypatch
    ):
        (tmp_path / "psutil.py").write_text("raise SystemExit('a file of the user')\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
        assert device.predict(file, [NOISE], resolution_px=16).shape == (1, 3)

    def test_it_ends_with_the_device(self, device, file, child):
        device._child._end()
        assert not child.is_running()

    def test_it_ends_with_a_killed_program(self, tmp_path):
        code = (
            "import os, psutil, signal\n"
            "from pathlib import Path\n"
            "from ofa_pipeline.devices import ReferenceNetwork, open_device\n"
            "from tests.support.runtimes import Settings, tiny_subnet\n"
            "reference = ReferenceNetwork(network=tiny_subnet(), resolution_px=16)\n"
            "device = open_device(Settings(), reference)\n"
            "device.measure(tiny_subnet(), resolution_px=16)\n"
            "print(psutil.Process().children()[0].pid, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
        killed = subprocess.run(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=False
        )
        assert killed.returncode == -signal.SIGKILL
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(int(killed.stdout)).wait(timeout=20)

    def test_a_network_that_the_runtime_refuses_is_named(self, device, tmp_path):
        (tmp_path / "notes.bin").write_text("not a network")
        with pytest.raises(DeviceError, match=r"pytorch cannot load .*notes\.bin"):
            device.measure(tmp_path / "notes.bin", resolution_px=16)

    def test_other_types_of_errors_are_shown_where_they_happened(self, file, capfd):
        device = open_device(Settings(runtime="pytorch"), REFERENCE)
        with pytest.raises(DeviceError, match=r"died \(exit code 1\) while running"):
            device.predict(file, [np.zeros((1, 4, 16, 16), np.float32)], resolution_px=16)
        assert "expected input[1, 4, 16, 16] to have 3 channels" in capfd.readouterr().err
