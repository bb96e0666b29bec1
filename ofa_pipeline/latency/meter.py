"""Latency meter: strict alternation with a reference network, ratios while the machine is quiet.

On a shared machine the speed of a core drifts by tens of percent within milliseconds to minutes,
so the median of many calls repeats to 5 to 15 % only. Here every visit to a network stands
between two visits to a reference network. Their ratio is kept where the reference shows that the
machine was quiet, because a slow phase does not slow all networks alike. The decision and its
figures: ``docs/adr/0030-latency-is-a-ratio.md``.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ofa_pipeline.arch import FloatArray
from ofa_pipeline.latency.measurement import Interval, LatencyMeasurement, median_interval
from ofa_pipeline.latency.quiet import quiet_process
from ofa_pipeline.latency.runtimes import LoadedNetwork, PreparedNetwork, Runtime

if TYPE_CHECKING:
    from torch import nn

VISIT_MS = 0.8
"""A visit makes as many calls as fit, so that the clock and the cold caches weigh little."""
MAX_CALLS_A_VISIT = 8
NUM_SESSIONS = 2
"""Fresh loads of both networks: where their memory lies changes the latency a little."""
PRECISION = 0.01
"""Half width of the confidence interval, relative, that ends a measurement."""
PATIENCE_S = 0.4
"""No further sessions after this time, whatever the precision."""
CALIBRATION_S = 1.5
"""How long a reference network without a known latency is watched at first."""
QUIET_QUANTILE = 0.25
"""Of many measurements, by the reference network's latency: the machine was quiet."""
MAX_PREEMPTION = 1.02
"""Wall time of a visit over its CPU time; above it, another process had the core."""
QUIET = 1.08
"""A machine is quiet while the reference takes at most this multiple of its latency."""
MIN_QUIET_VISITS = 15
"""A machine with fewer of them during a measurement is contended."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What time is read from; tests bring their own."""

    wall_ns: Callable[[], int] = time.perf_counter_ns
    cpu_s: Callable[[], float] = time.thread_time
    """Of the calling thread alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceNetwork:
    """The network that all others are compared with on a device."""

    network: "nn.Module | Path"
    resolution_px: int
    latency_ms: float | None = None
    """Of the undisturbed machine, from an earlier profile; None measures it now."""


@dataclass(frozen=True, slots=True)
class _Visit:
    """A few calls of one network in a row."""

    times_ms: FloatArray
    cpu_ms: float | None
    """CPU time a call; None where the calling thread does not do the work alone."""

    @property
    def is_preempted(self) -> bool:
        """Whether another process had the core meanwhile."""
        return self.cpu_ms is not None and self.times_ms.mean() > MAX_PREEMPTION * self.cpu_ms

    @property
    def latency_ms(self) -> float:
        """Median of the calls; the CPU time, which others do not take part in, when preempted."""
        if self.cpu_ms is not None and self.is_preempted:
            return self.cpu_ms
        return float(np.median(self.times_ms))


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A visit to the network between two visits to the reference."""

    before: _Visit
    network: _Visit
    after: _Visit

    @property
    def is_preempted(self) -> bool:
        return any(visit.is_preempted for visit in (self.before, self.network, self.after))

    @property
    def reference_ms(self) -> float:
        return (self.before.latency_ms + self.after.latency_ms) / 2

    @property
    def slowest_reference_ms(self) -> float:
        return max(self.before.latency_ms, self.after.latency_ms)

    @property
    def ratio(self) -> float:
        return self.network.latency_ms / self.reference_ms

    @property
    def ratios_of_calls(self) -> FloatArray:
        if self.network.is_preempted:
            return np.array([self.ratio])
        return self.network.times_ms / self.reference_ms


class LatencyMeter:
    """Measures networks on one device."""

    def __init__(
        self,
        runtime: Runtime,
        reference: ReferenceNetwork,
        *,
        warmup_runs: int = 5,
        timed_runs: int = 60,
        clock: Clock | None = None,
    ) -> None:
        """Prepare the reference network.

        Args:
            runtime: Of the device.
            reference: Of about the size of what will be measured; always the same for a device.
            warmup_runs: Calls after loading that do not count.
            timed_runs: Visits to the network, at least; more while the interval is too wide.
            clock: The machine's, unless given.
        """
        self._runtime = runtime
        self._clock = clock or Clock()
        self._warmup_runs = warmup_runs
        self._visits_a_session = max(timed_runs // NUM_SESSIONS, 1)
        self._reference = runtime.prepare(reference.network, resolution_px=reference.resolution_px)
        self._given_ms = reference.latency_ms
        self._seen_ms: list[float] = []

    @property
    def runtime(self) -> Runtime:
        """Of the device."""
        return self._runtime

    @property
    def reference_ms(self) -> float:
        """Latency of the reference network on the quiet machine.

        Unless it was given, it is measured when first asked for, and follows what is seen of the
        reference network later.
        """
        if self._given_ms is not None:
            return self._given_ms
        if not self._seen_ms:
            seen = self._compare(self._reference, is_done=lambda _: False, patience_s=CALIBRATION_S)
            self._seen_ms.append(_reference_p10_ms(seen))
        return quiet_reference_ms(self._seen_ms)

    def measure(self, network: "nn.Module | Path", *, resolution_px: int) -> LatencyMeasurement:
        """Measure a network, or a file that the runtime loads.

        Args:
            network: Converted as the runtime needs it (batch norm folded, exported); a file is
                measured as it is.
            resolution_px: Height and width of the images.

        Raises:
            DeviceError: If the runtime refuses the network.
        """
        reference_ms = self.reference_ms
        prepared = self._runtime.prepare(network, resolution_px=resolution_px)
        comparisons = self._compare(
            prepared,
            is_done=lambda found: _is_precise(found, reference_ms),
            patience_s=PATIENCE_S,
        )
        measurement = _summarize(comparisons, reference_ms)
        self._seen_ms.append(measurement.reference_p10_ms)
        return measurement

    def measure_file(self, path: Path, *, resolution_px: int) -> LatencyMeasurement:
        """Measure a file as it is: what is measured is what ships.

        Raises:
            DeviceError: If the runtime does not load such a file.
        """
        return self.measure(path, resolution_px=resolution_px)

    def _compare(
        self,
        prepared: PreparedNetwork,
        *,
        is_done: Callable[[list[_Comparison]], bool],
        patience_s: float,
    ) -> list[_Comparison]:
        """Alternate network and reference in fresh sessions until it is enough."""
        comparisons: list[_Comparison] = []
        threads = self._runtime.card.threads
        with quiet_process(threads=threads), self._runtime.threads_claimed():
            start_ns = self._clock.wall_ns()
            for session in itertools.count(1):
                comparisons += self._session(prepared)
                is_late = self._clock.wall_ns() - start_ns > patience_s * 1e9
                if session >= NUM_SESSIONS and (is_late or is_done(comparisons)):
                    return comparisons
        raise AssertionError  # pragma: no cover - the loop above has no other end

    def _session(self, prepared: PreparedNetwork) -> Iterator[_Comparison]:
        reference = self._runtime.load(self._reference)
        network = self._runtime.load(prepared)
        calls_of_reference, calls_of_network = self._warm_up(reference), self._warm_up(network)
        before = self._visit(reference, calls_of_reference)
        for _ in range(self._visits_a_session):
            visit = self._visit(network, calls_of_network)
            after = self._visit(reference, calls_of_reference)
            yield _Comparison(before, visit, after)
            before = after

    def _warm_up(self, loaded: LoadedNetwork) -> int:
        """Call a network some times; return how many calls a visit should make."""
        latency_ms = min(self._visit(loaded, 1).latency_ms for _ in range(self._warmup_runs))
        return int(np.clip(VISIT_MS / latency_ms, 1, MAX_CALLS_A_VISIT))

    def _visit(self, loaded: LoadedNetwork, calls: int) -> _Visit:
        """Call a network once to fill the caches, then `calls` times with the clock."""
        wall_ns = self._clock.wall_ns
        loaded.run()
        cpu_before = self._clock.cpu_s()
        stamps = [wall_ns()]
        for _ in range(calls):
            loaded.run()
            stamps.append(wall_ns())
        cpu_ms = 1e3 * (self._clock.cpu_s() - cpu_before) / calls
        card = self._runtime.card
        counts_cpu = card.threads == 1 and card.accelerator == "cpu"
        return _Visit(np.diff(stamps) / 1e6, cpu_ms if counts_cpu else None)


def quiet_reference_ms(reference_p10_ms: Sequence[float]) -> float:
    """Return the latency of the reference network on the quiet machine.

    Args:
        reference_p10_ms: What each of some measurements saw of it.
    """
    return float(np.quantile(reference_p10_ms, QUIET_QUANTILE))


def _quiet(comparisons: list[_Comparison], reference_ms: float) -> list[_Comparison]:
    """Return what was measured while the machine was quiet."""
    return [c for c in comparisons if c.slowest_reference_ms <= QUIET * reference_ms]


def _quietest(comparisons: list[_Comparison], reference_ms: float) -> list[_Comparison]:
    """Return the quiet comparisons; where there are too few, those with the fastest reference.

    Of the quiet ones, those that nobody interrupted, if there are enough.
    """
    quiet = _quiet(comparisons, reference_ms)
    calm = [c for c in quiet if not c.is_preempted]
    for found in (calm, quiet):
        if len(found) >= min(MIN_QUIET_VISITS, len(comparisons)):
            return found
    count = max(MIN_QUIET_VISITS, len(comparisons) // 4)
    return sorted(comparisons, key=lambda c: c.slowest_reference_ms)[:count]


def _ratio_interval(comparisons: list[_Comparison]) -> Interval:
    return median_interval(np.array([c.ratio for c in comparisons]))


def _is_precise(comparisons: list[_Comparison], reference_ms: float) -> bool:
    quiet = _quiet(comparisons, reference_ms)
    if len(quiet) < MIN_QUIET_VISITS:
        return False
    interval = _ratio_interval(quiet)
    return interval.high - interval.low <= 2 * PRECISION * interval.median


def _summarize(comparisons: list[_Comparison], reference_ms: float) -> LatencyMeasurement:
    kept = _quietest(comparisons, reference_ms)
    interval = _ratio_interval(kept)
    ratios = np.concatenate([c.ratios_of_calls for c in kept])
    num_calls = sum(len(c.network.times_ms) for c in comparisons)
    seen_ms = float(np.median([c.reference_ms for c in comparisons]))
    return LatencyMeasurement(
        p50_ms=interval.median * reference_ms,
        p95_ms=max(float(np.quantile(ratios, 0.95)), interval.high) * reference_ms,
        ci_low_ms=interval.low * reference_ms,
        ci_high_ms=interval.high * reference_ms,
        num_runs=len(ratios),
        num_dropped_runs=num_calls - len(ratios),
        reference_ms=reference_ms,
        reference_p10_ms=_reference_p10_ms(comparisons),
        slowdown=seen_ms / reference_ms,
        is_contended=len(_quiet(comparisons, reference_ms)) < MIN_QUIET_VISITS,
    )


def _reference_p10_ms(comparisons: list[_Comparison]) -> float:
    return float(np.quantile([c.before.latency_ms for c in comparisons], 0.1))
