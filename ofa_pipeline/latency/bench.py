"""Which subnets are measured on a device, and what measures them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.devices import (
    DeviceSettings,
    LatencyMeasurement,
    ReferenceNetwork,
    open_device,
)
from ofa_pipeline.latency.design import design_subnets
from ofa_pipeline.latency.profile import build_measured_subnet, reference_arch

Role = Literal["reference", "fit", "holdout", "repeat"]
NUM_REPEATED_SUBNETS = 4
NUM_REPEATS = 2
"""Further measurements of each of them, after all others: the noise of a measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTask:
    """One latency to measure."""

    arch: Arch
    role: Role
    repeat: int = 0

    @property
    def key(self) -> str:
        """Name of the task in notes of what was measured."""
        return f"{self.role} {self.arch.arch_id} {self.repeat}"


def plan_latency_tasks(
    space: SearchSpace, *, num_classes: int, num_subnets: int, num_holdout: int, seed: int
) -> list[LatencyTask]:
    """Return what to measure, in order: reference, design, held-out subnets, repeats.

    The arguments are those of `design_subnets`.
    """
    fit, holdout = design_subnets(
        space,
        num_classes=num_classes,
        num_subnets=num_subnets,
        num_holdout=num_holdout,
        seed=seed,
    )
    designed = space.archs(fit)
    # Spread over the design, which begins with the smallest and the largest subnet.
    count = min(NUM_REPEATED_SUBNETS, len(designed))
    again = [designed[index] for index in np.linspace(0, len(designed) - 1, count).astype(int)]
    return [
        LatencyTask(arch=reference_arch(space), role="reference"),
        *[LatencyTask(arch=arch, role="fit") for arch in designed],
        *[LatencyTask(arch=arch, role="holdout") for arch in space.archs(holdout)],
        *[
            LatencyTask(arch=arch, role="repeat", repeat=repeat)
            for repeat in range(NUM_REPEATS)
            for arch in again
        ],
    ]


class LatencyBench:
    """Measures subnets with random weights on a device that is profiled for the first time."""

    def __init__(
        self,
        settings: DeviceSettings,
        space: SearchSpace,
        *,
        num_classes: int,
        warmup_runs: int,
        timed_runs: int,
    ) -> None:
        """Measure nothing yet.

        Args:
            settings: The device, as params.yaml describes it.
            space: The space that the subnets are of.
            num_classes: Length of the logits.
            warmup_runs: Calls after loading that do not count.
            timed_runs: Visits to a network, at least.
        """
        self._settings = settings
        self._space = space
        self._num_classes = num_classes
        self._warmup_runs = warmup_runs
        self._timed_runs = timed_runs

    def __call__(self) -> Callable[[LatencyTask], dict[str, Any]]:
        """Measure the reference network, and return what measures a task."""
        arch = reference_arch(self._space)
        device = open_device(
            self._settings,
            ReferenceNetwork(
                network=build_measured_subnet(self._space, arch, num_classes=self._num_classes),
                resolution_px=arch.resolution_px,
            ),
            warmup_runs=self._warmup_runs,
            timed_runs=self._timed_runs,
        )

        def measure(task: LatencyTask) -> dict[str, Any]:
            subnet = build_measured_subnet(self._space, task.arch, num_classes=self._num_classes)
            return device.measure(subnet, resolution_px=task.arch.resolution_px).to_dict()

        return measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A measured subnet."""

    task: LatencyTask
    measurement: LatencyMeasurement

    @classmethod
    def of(cls, task: LatencyTask, row: Mapping[str, Any]) -> "Sample":
        """Return a sample from what the bench measured."""
        return cls(task=task, measurement=LatencyMeasurement.from_dict(row))
