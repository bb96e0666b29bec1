"""The contract of a `Runtime`, and a runtime whose time is made up."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.devices import Clock, DeviceCard, LoadedNetwork, PreparedNetwork, Runtime
from ofa_pipeline.devices.runtimes import Images
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.latency import build_measured_subnet
from ofa_pipeline.supernet import Subnet
from tests.support.synthetic import small_space


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A device as params.yaml would describe it."""

    runtime: str = "onnxruntime"
    accelerator: str = "cpu"
    precision: str = "fp32"
    threads: int = 1
    batch_size: int = 1


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

    def test_run_classifies_a_batch_and_returns_nothing(
        self, runtime: Runtime, subnet: Subnet
    ) -> None:
        assert runtime.load(runtime.prepare(subnet, resolution_px=20)).run() is None  # type: ignore[func-returns-value]

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

    def test_threads_are_as_before_afterwards(self, runtime: Runtime) -> None:
        before = torch.get_num_threads()
        with runtime.threads_claimed():
            pass
        assert torch.get_num_threads() == before

    def test_the_card_names_runtime_version_and_hardware(self, runtime: Runtime) -> None:
        assert runtime.card.runtime_version
        assert runtime.card.hardware

    def test_a_file_of_another_kind_is_refused(self, runtime: Runtime, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("not a network")
        with pytest.raises(DeviceError):
            runtime.load(runtime.prepare(path, resolution_px=20))

    def test_a_missing_file_is_refused_by_name(self, runtime: Runtime, tmp_path: Path) -> None:
        with pytest.raises(DeviceError, match="model"):
            runtime.prepare(tmp_path / "model.onnx", resolution_px=20)


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


@dataclass(frozen=True)
class MadeUpRuntime:
    """Calls networks by moving a made-up clock."""

    time: MadeUpTime
    threads: int = 1

    @property
    def card(self) -> DeviceCard:
        """A device of no make."""
        return DeviceCard(
            runtime="made up",
            runtime_version="1",
            accelerator="cpu",
            hardware="none",
            precision="fp32",
            threads=self.threads,
            batch_size=1,
        )

    def prepare(self, network: nn.Module | Path, *, resolution_px: int) -> PreparedNetwork:
        """Keep the latency."""
        assert isinstance(network, MadeUpNetwork)
        content = str(network.latency_ms).encode()
        return PreparedNetwork(content=content, resolution_px=resolution_px)

    def load(self, prepared: PreparedNetwork) -> LoadedNetwork:
        """Return something that takes as long."""
        return _MadeUpCall(self.time, float(prepared.content))

    @contextmanager
    def threads_claimed(self) -> Iterator[None]:
        """Do nothing."""
        yield


@dataclass(frozen=True)
class _MadeUpCall:
    time: MadeUpTime
    latency_ms: float

    def run(self) -> None:
        self.time.work(self.latency_ms)

    def predict(self, images: Images) -> Images:
        return images


__all__ = [
    "MadeUpNetwork",
    "MadeUpRuntime",
    "MadeUpTime",
    "RuntimeContract",
    "Settings",
    "tiny_space",
    "tiny_subnet",
]
