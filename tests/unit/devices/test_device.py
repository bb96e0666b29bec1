import numpy as np
import pytest

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


def test_a_local_device_measures_with_its_runtime():
    time = MadeUpTime()
    runtime = MadeUpRuntime(time)
    reference = ReferenceNetwork(network=MadeUpNetwork(1.0), resolution_px=16)
    device = LocalDevice(runtime, reference, clock=time.clock())
    found = device.measure(MadeUpNetwork(0.25), resolution_px=16)
    assert found.p50_ms == pytest.approx(0.25, rel=1e-4)
    assert device.card == runtime.card


@pytest.fixture
def device():
    reference = ReferenceNetwork(network=tiny_subnet(), resolution_px=16, latency_ms=0.1)
    return open_device(Settings(runtime="pytorch"), reference)


def test_a_device_answers_for_all_batches_of_a_file(device, tmp_path):
    images = np.random.default_rng(0).standard_normal((5, 3, 20, 20), dtype=np.float32)
    file = tmp_path / device.runtime.network.file_name
    device.runtime.write(tiny_subnet(tiny_space().largest), file, resolution_px=20)
    logits = device.predict(file, iter([images[:2], images[2:]]), resolution_px=20)
    whole = device.predict(file, [images], resolution_px=20)
    assert logits.shape == (5, 3)
    np.testing.assert_allclose(logits, whole, rtol=1e-5, atol=1e-6)


def test_a_missing_file_is_refused_by_name(device, tmp_path):
    for run in (device.measure, lambda file, **_: device.predict(file, [], resolution_px=16)):
        with pytest.raises(DeviceError, match=r"lost\.bin must be the file of a network"):
            run(tmp_path / "lost.bin", resolution_px=16)


def test_a_device_is_what_params_describe(device):
    assert device.card == build_runtime(Settings(runtime="pytorch")).card
