import json
import os

import pytest

from ofa_pipeline.cores import usable_cores
from ofa_pipeline.devices import DeviceCard, build_runtime, describe_device, probe_runtimes
from ofa_pipeline.devices.machine import gpu_model
from ofa_pipeline.errors import DeviceError
from tests.support.runtimes import Settings


def test_card_round_trips_through_json():
    card = describe_device(Settings())
    assert DeviceCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_card_knows_no_host_and_no_clock():
    assert describe_device(Settings()) == describe_device(Settings())
    assert set(describe_device(Settings()).to_dict()) == {
        "runtime",
        "runtime_version",
        "accelerator",
        "hardware",
        "precision",
        "threads",
        "batch_size",
        "cores",
    }


@pytest.mark.parametrize(
    "other",
    [
        Settings(runtime="pytorch"),
        Settings(batch_size=2),
        Settings(pinning=(min(os.sched_getaffinity(0)),)),
    ],
    ids=["runtime", "batch", "pinning"],
)
def test_fingerprint_tells_devices_apart(other):
    card, changed = describe_device(Settings()), describe_device(other)
    assert card.fingerprint != changed.fingerprint
    assert card.differences(changed)
    assert not card.differences(card)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(runtime="onnxruntim"), "Did you mean 'onnxruntime'"),
        (
            Settings(accelerator="tpu"),
            "runtime onnxruntime must be one of cpu, cuda",
        ),
        (
            Settings(precision="int4"),
            "runtime onnxruntime must be one of fp32",
        ),
        (Settings(threads=10_000), f"1 to {usable_cores()}"),
        (Settings(threads=0), "threads"),
        (Settings(batch_size=0), "batch_size"),
        (Settings(pinning=(0, 5000)), "pinning of a device must name cores .* got 5000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_device_that_cannot_be_says_why_before_any_work(settings, message):
    with pytest.raises(DeviceError, match=message):
        build_runtime(settings)


@pytest.mark.parametrize(
    ("runtime", "options", "message"),
    [
        (
            "onnxruntime",
            {"allow_spining": True},
            r"those that it knows \(graph_optimization_level: ORT_ENABLE_ALL, .*; allow_spinning: "
            r"true, false\), got 'allow_spining'.*Did you mean 'allow_spinning'",
        ),
        ("onnxruntime", {"allow_spinning": "no"}, "must be one of true, false, got no"),
        ("openvino", {"SCHEDULING_CORE_TYPE": "BIG"}, "must be one of ANY_CORE, .*, got BIG"),
        ("pytorch", {"channels_last": True}, r"those that it knows \(none\), got 'channels_last'"),
        ("ncnn", {}, "must hold one at least. Leave it out"),
    ],
)
def test_an_option_that_the_runtime_does_not_know_is_refused(runtime, options, message):
    with pytest.raises(DeviceError, match=message):
        describe_device(Settings(runtime=runtime, options=options))


def test_options_are_part_of_the_fingerprint_and_a_card_without_is_as_it_was():
    plain = describe_device(Settings())
    told = describe_device(Settings(options={"allow_spinning": False}))
    assert "options" not in plain.to_dict()
    assert told.fingerprint != plain.fingerprint
    assert told.differences(plain) == ("options {'allow_spinning': False} against unknown",)
    assert (plain.told, told.told) == ("", ", allow_spinning false")
    assert DeviceCard.from_dict(told.to_dict()) == told


@pytest.mark.parametrize("runtime", ["pytorch", "onnxruntime"])
def test_cuda_without_a_gpu_says_what_to_install_and_what_works(runtime):
    if any(p.name == f"{runtime} cuda" and p.is_available for p in probe_runtimes()):
        pytest.skip("CUDA is available here")
    with pytest.raises(DeviceError, match=r"To get it: .*NVIDIA driver.*Usable: .*pytorch cpu"):
        build_runtime(Settings(runtime=runtime, accelerator="cuda"))


@pytest.mark.parametrize(
    ("runtime", "command"),
    [
        ("onnxruntime", "pip install onnxruntime"),
        ("executorch", r"pip install 'ofa-pipeline\[executorch\]'"),
        ("litert", r"pip install 'ofa-pipeline\[litert\]'"),
        ("ncnn", r"pip install 'ofa-pipeline\[ncnn\]'"),
        ("openvino", r"pip install 'ofa-pipeline\[openvino\]'"),
    ],
)
def test_a_missing_package_says_how_to_get_it(monkeypatch, runtime, command):
    import importlib.metadata

    def version(name):
        if runtime in name:
            raise importlib.metadata.PackageNotFoundError(name)
        return "2.0"

    monkeypatch.setattr("ofa_pipeline.devices.machine.importlib.metadata.version", version)
    with pytest.raises(DeviceError, match=f"{runtime} on cpu is not usable here.*{command}"):
        build_runtime(Settings(runtime=runtime))


def test_every_runtime_is_probed():
    probes = {probe.name: probe for probe in probe_runtimes()}
    assert set(probes) == {
        "aotinductor cpu",
        "pytorch cpu",
        "pytorch cuda",
        "onnxruntime cpu",
        "onnxruntime cuda",
        "openvino cpu",
        "executorch cpu",
        "litert cpu",
        "ncnn cpu",
    }
    assert probes["pytorch cpu"].is_available
    assert all(bool(probe.how_to_get) != probe.is_available for probe in probes.values())


class FakeCuda:
    """A driver of one GPU, or of none."""

    def __init__(self, *, failure=0):
        self.cuInit = lambda flags: failure
        self.cuDeviceGet = lambda device, ordinal: 0
        self.cuDeviceGetName = self.write_name

    @staticmethod
    def write_name(buffer, length, device):
        buffer.value = b"NVIDIA H100"
        return 0


def test_a_gpu_is_called_as_its_driver_calls_it(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: FakeCuda())
    assert gpu_model() == "NVIDIA H100"


def test_a_gpu_without_a_name_is_a_gpu(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: FakeCuda(failure=100))
    assert gpu_model() == "GPU"
