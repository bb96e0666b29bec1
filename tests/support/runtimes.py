"""The contract of a `Runtime`, and a runtime whose time is made up."""

import gc
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.devices import (
    CODE_FOLDER,
    Clock,
    DeviceCard,
    LoadedNetwork,
    PreparedNetwork,
    Runtime,
    find_runtime,
)
from ofa_pipeline.devices.runtime import Images
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.latency import build_measured_subnet
from ofa_pipeline.supernet import Subnet
from tests.support.registry import CLASS_NAMES, write_bundle
from tests.support.synthetic import small_space


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A device as params.yaml would describe it."""

    runtime: str = "onnxruntime"
    accelerator: str = "cpu"
    precision: str = "fp32"
    threads: int = 1
    batch_size: int = 1
    pinning: tuple[int, ...] | None = None
    options: dict[str, bool | str] | None = None
    location: str | None = None
    measured: str | None = None
    python: str | None = None


def tiny_space() -> SearchSpace:
    """Return a space whose networks build, export and run in milliseconds."""
    return small_space(resolutions_px=(16, 20), num_groups=2, depths=(1, 2))


def tiny_subnet(arch: Arch | None = None) -> Subnet:
    """Return a subnet of `tiny_space`; the smallest unless told."""
    space = tiny_space()
    return build_measured_subnet(space, arch or space.smallest, num_classes=3)


class RuntimeContract:
    """What every runtime must do. A subclass gives the fixture ``runtime``."""

    @pytest.fixture
    def subnet(self) -> Subnet:
        return tiny_subnet(tiny_space().largest)

    @pytest.fixture
    def images(self) -> Images:
        return np.random.default_rng(3).standard_normal((2, 3, 20, 20), dtype=np.float32)

    def test_logits_are_those_of_the_network(
        self, runtime: Runtime, subnet: Subnet, images: Images
    ) -> None:
        with torch.no_grad():
            expected = subnet(torch.from_numpy(images)).numpy()
        loaded = runtime.load(runtime.prepare(subnet, resolution_px=20))
        np.testing.assert_allclose(loaded.predict(images), expected, rtol=1e-4, atol=1e-5)

    def test_run_classifies_a_batch(self, runtime: Runtime, subnet: Subnet) -> None:
        runtime.load(runtime.prepare(subnet, resolution_px=20)).run()

    def test_a_prepared_call_needs_nobody_else_to_hold_the_network(
        self, runtime: Runtime, subnet: Subnet, images: Images
    ) -> None:
        content = runtime.content_of(subnet, resolution_px=20)
        call = runtime.open(content, accelerator="cpu", threads=1).prepared_call(images)
        gc.collect()
        call()

    def test_preparing_leaves_the_network_alone(self, runtime: Runtime, subnet: Subnet) -> None:
        before = {name: value.clone() for name, value in subnet.state_dict().items()}
        subnet.train()
        runtime.load(runtime.prepare(subnet, resolution_px=20)).run()
        assert subnet.training
        assert before.keys() == subnet.state_dict().keys()
        assert all(torch.equal(before[name], v) for name, v in subnet.state_dict().items())

    def test_a_prepared_network_loads_any_number_of_times(
        self, runtime: Runtime, subnet: Subnet, images: Images
    ) -> None:
        prepared = runtime.prepare(subnet, resolution_px=20)
        first, second = (runtime.load(prepared).predict(images) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_what_is_measured_is_the_file(
        self, runtime: Runtime, subnet: Subnet, images: Images, tmp_path: Path
    ) -> None:
        path = tmp_path / runtime.network.file_name
        runtime.write(subnet, path, resolution_px=20)
        from_file = runtime.prepare(path, resolution_px=20)
        from_memory = runtime.prepare(subnet, resolution_px=20)
        assert from_file.content == from_memory.content
        expected = runtime.load(from_memory).predict(images)
        np.testing.assert_array_equal(runtime.load(from_file).predict(images), expected)

    def test_threads_are_as_before_afterwards(self, runtime: Runtime, subnet: Subnet) -> None:
        before = torch.get_num_threads(), os.sched_getaffinity(0), dict(os.environ)
        with runtime.threads_claimed():
            runtime.load(runtime.prepare(subnet, resolution_px=20)).run()
        assert (torch.get_num_threads(), os.sched_getaffinity(0), dict(os.environ)) == before

    def test_the_card_names_runtime_version_and_hardware(self, runtime: Runtime) -> None:
        assert find_runtime(runtime.card.runtime) is type(runtime)
        assert runtime.card.runtime_version
        assert runtime.card.hardware

    def test_it_says_what_it_needs(self, runtime: Runtime) -> None:
        assert runtime.package in runtime.requirements
        assert runtime.how_to_get[runtime.card.accelerator]
        assert runtime.tolerance == runtime.tolerances[runtime.card.precision]
        assert all((CODE_FOLDER / name).is_file() for name in runtime.network.code_names)

    def test_its_bundle_classifies_where_this_package_is_not_installed(
        self, runtime: Runtime, tmp_path: Path
    ) -> None:
        folder = write_bundle(tmp_path / "bundle", runtime=runtime.card.runtime)
        Image.new("RGB", (30, 20), (0, 0, 255)).save(tmp_path / "blue.png")
        finished = subprocess.run(
            [sys.executable, "-I", "classify.py", str(tmp_path / "blue.png")],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.split("\t")[1] == CLASS_NAMES[2]

    def test_every_value_of_every_option_computes_the_same(
        self, runtime: Runtime, subnet: Subnet, images: Images
    ) -> None:
        content = runtime.content_of(subnet, resolution_px=20)
        expected = runtime.open(content, accelerator="cpu", threads=1)(images)
        for name, values in runtime.options.items():
            assert len(values) > 1
            for value in values:
                try:
                    network = runtime.open(
                        content, accelerator="cpu", threads=1, options={name: value}
                    )
                    found = network(images)
                except ValueError as error:  # this processor lacks it
                    assert f"{name} cannot be {value} on this machine" in str(error)  # noqa: PT017
                    assert value != values[0]
                else:
                    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)

    def test_a_file_of_another_kind_is_refused(self, runtime: Runtime, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("not a network")
        with pytest.raises(DeviceError):
            runtime.load(runtime.prepare(path, resolution_px=20))

    def test_a_missing_file_is_refused_by_name(self, runtime: Runtime, tmp_path: Path) -> None:
        with pytest.raises(DeviceError, match="model"):
            runtime.prepare(tmp_path / "model.onnx", resolution_px=20)


class QuantizedContract:
    """What every runtime in int8 must do. A subclass gives the fixture ``runtime``."""

    @pytest.fixture
    def subnet(self) -> Subnet:
        return tiny_subnet(tiny_space().largest)

    @pytest.fixture
    def images(self) -> Images:
        return np.random.default_rng(3).standard_normal((70, 3, 20, 20), dtype=np.float32)

    def test_logits_are_about_those_of_the_network(
        self, runtime: Runtime, subnet: Subnet, images: Images, tmp_path: Path
    ) -> None:
        with torch.no_grad():
            expected = subnet(torch.from_numpy(images)).numpy()
        runtime.write(subnet, tmp_path / "it", resolution_px=20, calibration=[images])
        loaded = runtime.load(runtime.prepare(tmp_path / "it", resolution_px=20))
        difference = np.abs(loaded.predict(images) - expected).max() / np.abs(expected).max()
        assert 0 < difference < runtime.tolerance.max_relative_difference

    def test_the_same_images_give_the_same_bytes(
        self, runtime: Runtime, subnet: Subnet, images: Images
    ) -> None:
        first, again, other = (
            runtime.quantized_content_of(subnet, resolution_px=20, calibration=calibration)
            for calibration in ([images], [images], [2 * images])
        )
        assert first == again
        assert first != other

    def test_a_network_that_is_timed_needs_no_images_and_says_nothing(
        self,
        runtime: Runtime,
        subnet: Subnet,
        capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        runtime.load(runtime.prepare(subnet, resolution_px=20)).run()
        assert capfd.readouterr() == ("", "")
        assert not caplog.records

    def test_too_few_images_are_refused_with_their_number(
        self, runtime: Runtime, subnet: Subnet, images: Images, tmp_path: Path
    ) -> None:
        with pytest.raises(DeviceError, match=r"at least 32 calibration images.*found 7"):
            runtime.write(subnet, tmp_path / "it", resolution_px=20, calibration=[images[:7]])
        assert not (tmp_path / "it").exists()

    def test_its_file_is_another_one(self, runtime: Runtime) -> None:
        assert "int8" in runtime.file_name
        assert runtime.file_name != runtime.network.file_name


LOAD_MS = 2.0
"""What loading a made-up network takes."""


@dataclass
class MadeUpTime:
    """A clock that only networks of `MadeUpRuntime` move."""

    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    speeds: list[float] = field(default_factory=lambda: [1.0])
    """How long work takes, as a multiple; a phase of calls each, over and over."""
    calls_a_phase: int = 50
    preempted_every: int = 0
    """Every so many calls another process takes the core for 10 ms; 0: never."""
    num_calls: int = 0
    import_ms: float = 0.0
    """What the first network that is loaded takes besides."""

    def work(self, latency_ms: float) -> None:
        """Let a call of so many milliseconds pass."""
        phase = self.num_calls // self.calls_a_phase % len(self.speeds)
        self.num_calls += 1
        spent = latency_ms * self.speeds[phase]
        self.cpu_ms += spent
        self.wall_ms += spent
        if self.preempted_every and self.num_calls % self.preempted_every == 0:
            self.wall_ms += 10.0

    def clock(self) -> Clock:
        """Return what a meter reads."""
        return Clock(wall_ns=lambda: round(self.wall_ms * 1e6), cpu_s=lambda: self.cpu_ms / 1e3)


class MadeUpNetwork(nn.Module):
    """A network with a latency and nothing else."""

    def __init__(self, latency_ms: float) -> None:
        """Take this long."""
        super().__init__()
        self.latency_ms = latency_ms


class MadeUpRuntime(Runtime):
    """Calls networks by moving a made-up clock."""

    def __init__(self, time: MadeUpTime, threads: int = 1) -> None:
        """Move this clock, on a device of no make."""
        super().__init__(
            DeviceCard(
                runtime="made up",
                runtime_version="1",
                accelerator="cpu",
                hardware="none",
                precision="fp32",
                threads=threads,
                batch_size=1,
            )
        )
        self._time = time

    def content_of(self, network: nn.Module, *, resolution_px: int) -> bytes:
        """Keep the latency."""
        assert isinstance(network, MadeUpNetwork)
        return str(network.latency_ms).encode()

    def load(self, prepared: PreparedNetwork, *, images: Images | None = None) -> LoadedNetwork:
        """Return something that takes as long."""
        latency_ms = float(prepared.content)
        self._time.wall_ms += LOAD_MS + self._time.import_ms
        self._time.import_ms = 0.0
        return LoadedNetwork(run=lambda: self._time.work(latency_ms), predict=lambda images: images)


__all__ = [
    "LOAD_MS",
    "MadeUpNetwork",
    "MadeUpRuntime",
    "MadeUpTime",
    "QuantizedContract",
    "RuntimeContract",
    "Settings",
    "tiny_space",
    "tiny_subnet",
]
