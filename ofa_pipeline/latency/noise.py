"""How noisy a machine is to measure on: what else runs there, and how well measurements repeat."""

from dataclasses import dataclass

import numpy as np
import psutil

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.devices import DeviceSettings, LatencyMeasurement
from ofa_pipeline.latency.bench import LatencyBench, LatencyTask
from ofa_pipeline.progress import SILENT, Reporter

NUM_CHECKS = 5
WATCH_S = 1.0
"""How long the load of the cores is watched."""
QUIET_CV = 0.02
"""Measurements of one network repeat to this, relative, on a machine that is fit to measure on."""
_SPARE_CORES = 0.25
"""Of what else runs, as much does no harm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineNoise:
    """What some measurements of one network on a device came to."""

    measurements: tuple[LatencyMeasurement, ...]
    busy_cores: float
    """What other programs kept busy before anything was measured."""
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
        return self.busy_cores + self.threads > self.num_cores + _SPARE_CORES

    @property
    def is_fit(self) -> bool:
        """Whether latencies that are measured now can be trusted."""
        is_contended = 2 * self.num_contended > len(self.measurements)
        return not self.is_loaded and not is_contended and self.cv <= QUIET_CV


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
    num_cores = psutil.cpu_count() or 1
    busy_cores = psutil.cpu_percent(interval=WATCH_S) / 100 * num_cores
    measure = LatencyBench(
        settings,
        space,
        num_classes=num_classes,
        warmup_runs=warmup_runs,
        timed_runs=timed_runs,
    )()
    progress = reporter.track("noise", total=NUM_CHECKS, unit="measurements")
    found = []
    for repeat in range(NUM_CHECKS):
        row = measure(LatencyTask(arch=space.largest, role="repeat", repeat=repeat))
        found.append(LatencyMeasurement.from_dict(row))
        progress.advance(p50_ms=row["p50_ms"])
    return MachineNoise(
        measurements=tuple(found),
        busy_cores=busy_cores,
        num_cores=num_cores,
        threads=settings.threads,
    )
