"""How noisy a machine is to measure on: what else runs there, and how well measurements repeat."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.devices import (
    DeviceSettings,
    LatencyMeasurement,
    busy_cores,
    quiet_reference_ms,
)
from ofa_pipeline.documents import MeasurementNoise
from ofa_pipeline.latency.bench import LatencyBench, LatencyTask
from ofa_pipeline.progress import SILENT, Reporter

NUM_CHECKS = 5
QUIET_CV = 0.02
"""Measurements of one network repeat to this, relative, on a machine that is fit to measure on."""
_SPARE_CORES = 0.25
"""Of what else runs, as much does no harm."""


def pooled_cv(repeated_ms: Sequence[Sequence[float]]) -> float:
    """Return how far measurements of the same networks differ, relative, pooled over networks.

    Args:
        repeated_ms: Latencies of each network, at least two.
    """
    variances = [np.var(same, ddof=1) / np.mean(same) ** 2 for same in repeated_ms]
    return float(np.sqrt(np.mean(variances)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineNoise:
    """What some measurements of one network on a device came to."""

    measurements: tuple[LatencyMeasurement, ...]
    busy_cores: float | None
    """What other programs kept busy before anything was measured; None where nobody can say."""
    num_cores: int
    threads: int

    @property
    def cv(self) -> float:
        """Standard deviation of the medians over their mean."""
        p50_ms = [measurement.p50_ms for measurement in self.measurements]
        return float(np.std(p50_ms, ddof=1) / np.mean(p50_ms))

    @property
    def num_contended(self) -> int:
        """Measurements during which the machine was hardly ever quiet."""
        return sum(measurement.is_contended for measurement in self.measurements)

    @property
    def num_cold(self) -> int:
        """Measurements in which calls still became faster when they were timed."""
        return sum(measurement.is_warm is False for measurement in self.measurements)

    @property
    def is_loaded(self) -> bool:
        """Whether other programs leave too few cores for the threads of the device."""
        if self.busy_cores is None:
            return False
        return self.busy_cores + self.threads > self.num_cores + _SPARE_CORES

    @property
    def is_fit(self) -> bool:
        """Whether latencies that are measured now can be trusted."""
        is_contended = 2 * self.num_contended > len(self.measurements)
        return not self.is_loaded and not is_contended and self.cv <= QUIET_CV


def noise_tasks(space: SearchSpace) -> list[LatencyTask]:
    """Return what is measured to learn how noisy a machine is: the largest subnet, a few times."""
    return [
        LatencyTask(arch=space.largest, role="repeat", repeat=repeat)
        for repeat in range(NUM_CHECKS)
    ]


def measure_noise(
    settings: DeviceSettings,
    space: SearchSpace,
    *,
    num_classes: int,
    warmup_runs: int,
    timed_runs: int,
    reporter: Reporter = SILENT,
) -> MachineNoise:
    """Watch the load of the machine, then measure the largest subnet a few times.

    Args:
        settings: The device.
        space: The space that is to be measured on it.
        num_classes: Length of the logits.
        warmup_runs: Calls after loading that do not count.
        timed_runs: Visits to the network, at least.
        reporter: Told of the progress.

    Raises:
        DeviceError: If the machine cannot serve the settings.
    """
    busy = busy_cores()
    measure = LatencyBench(
        settings,
        space,
        num_classes=num_classes,
        warmup_runs=warmup_runs,
        timed_runs=timed_runs,
    )()
    progress = reporter.track("noise", total=NUM_CHECKS, unit="measurements")
    found = []
    for task in noise_tasks(space):
        row = measure(task)
        found.append(LatencyMeasurement.from_dict(row))
        progress.advance(p50_ms=row["p50_ms"])
    # One latency of the reference network for all of them, as in a profile.
    reference_ms = quiet_reference_ms([one.reference_p10_ms for one in found])
    return MachineNoise(
        measurements=tuple(one.rescaled(reference_ms) for one in found),
        busy_cores=busy,
        num_cores=os.cpu_count() or 1,
        threads=settings.threads,
    )


def noise_of(measured: Mapping[str, LatencyMeasurement]) -> MeasurementNoise:
    """Return how noisy measurements elsewhere were; NaN where no network was measured again.

    Args:
        measured: By `LatencyTask.key`, or by other names of what was measured once.
    """
    again: dict[str, list[float]] = {}
    for key, measurement in measured.items():
        role, _, rest = key.partition(" ")
        if role in ("fit", "repeat"):
            again.setdefault(rest.rpartition(" ")[0], []).append(measurement.p50_ms)
    repeated = [same for same in again.values() if len(same) > 1]
    return MeasurementNoise(
        cv=pooled_cv(repeated) if repeated else math.nan,
        num_subnets=len(repeated),
        num_measurements=sum(map(len, repeated)),
        num_contended=sum(measurement.is_contended for measurement in measured.values()),
    )
