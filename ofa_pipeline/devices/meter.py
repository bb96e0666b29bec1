"""Latency meter: strict alternation with a reference network, compared while the machine is quiet.

On a shared machine the speed of a core drifts by tens of percent within milliseconds to minutes,
so the median of many calls repeats to 5 to 15 % only. Here every visit to a network stands
between two visits to a reference network, whose latency on the quiet machine is known. The
decision and its figures: ``docs/adr/0030-latency-is-a-ratio.md``.
"""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ofa_pipeline.arch import FloatArray
from ofa_pipeline.devices.measurement import Ratio, estimate_ratio
from ofa_pipeline.devices.peak_memory import forget_peak_memory, peak_memory_bytes
from ofa_pipeline.devices.quiet import quiet_process
from ofa_pipeline.devices.runtime import LoadedNetwork, PreparedNetwork, Runtime
from ofa_pipeline.documents import LatencyMeasurement

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

VISIT_MS = 0.8
"""A visit makes as many calls as fit, so that the clock and the cold caches weigh little."""
MAX_CALLS_A_VISIT = 8
NUM_SESSIONS = 2
"""Fresh loads of both networks: where their memory lies changes the latency a little."""
PRECISION = 0.015
"""Half width of the confidence interval, relative, that ends a measurement."""
PATIENCE_S = 0.3
"""CPU time after which no further session begins, whatever the precision."""
MAX_WAIT = 2.5
"""Wall time after which none begins, as a multiple of it, where other processes have the core."""
CALIBRATION_S = 1.5
"""How long a reference network without a known latency is watched at first."""
QUIET_QUANTILE = 0.25
"""The latency of the reference network in this share of the measurements: the quiet machine's."""
WARMER = 0.03
"""A network is warm when a number of calls were no faster than those before by more than this."""
MAX_WARMUP = 10
"""Calls to warm up, at most, as a multiple of those that it takes where nothing gets faster."""
MAX_PREEMPTION = 1.02
"""Wall time of a visit over its CPU time; above it, another process had the core."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What time is read from; tests bring their own."""

    wall_ns: Callable[[], int] = time.perf_counter_ns
    cpu_s: Callable[[], float] = time.thread_time
    """CPU time of the calling thread alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceNetwork:
    """The network that all others are compared with on a device."""

    network: "nn.Module | Path | PreparedNetwork"
    resolution_px: int
    latency_ms: float | None = None
    """Its latency on the undisturbed machine, from an earlier profile; None: it is measured now."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A few calls of one network in a row."""

    times_ms: FloatArray
    cpu_ms: float | None
    """CPU time a call; None where the calling thread does not do the work alone."""

    @property
    def is_preempted(self) -> bool:
        """True if another process had the core meanwhile."""
        return self.cpu_ms is not None and self.times_ms.mean() > MAX_PREEMPTION * self.cpu_ms

    @property
    def latency_ms(self) -> float:
        """Median of the calls; the CPU time, which others do not take part in, when preempted."""
        if self.cpu_ms is not None and self.is_preempted:
            return self.cpu_ms
        return float(np.median(self.times_ms))


@dataclass(frozen=True, slots=True)
class Comparison:
    """A visit to the network between two visits to the reference."""

    before: Visit
    network: Visit
    after: Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshLoad:
    """What loading a network and its first call took."""

    load_ms: float
    first_call_ms: float
    peak_memory_bytes: int | None
    """None where the system does not say."""


@dataclass(frozen=True, slots=True)
class Session:
    """A fresh load of a network, and what was measured of it."""

    load: FreshLoad
    comparisons: Sequence[Comparison]


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
            runtime: The runtime of the device.
            reference: A network of about the size of those to measure; the same for each meter of
                a device.
            warmup_runs: Calls after loading that do not count, at least; more while it gets faster.
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
    def reference_ms(self) -> float:
        """Latency of the reference network on the quiet machine.

        Unless it was given, it is measured when first asked for, and follows what is seen of the
        reference network later.
        """
        if self._given_ms is not None:
            return self._given_ms
        if not self._seen_ms:
            seen = self._compare(self._reference, is_done=lambda _: False, patience_s=CALIBRATION_S)
            self._seen_ms.append(_reference_p10_ms(comparisons_of(seen)))
        return quiet_reference_ms(self._seen_ms)

    def measure(
        self, network: "nn.Module | Path | PreparedNetwork", *, resolution_px: int
    ) -> LatencyMeasurement:
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
        sessions = self._compare(
            prepared,
            is_done=lambda found: _estimate(found, reference_ms).half_width <= PRECISION,
            patience_s=PATIENCE_S,
        )
        measurement = summarize(sessions, reference_ms)
        self._seen_ms.append(measurement.reference_p10_ms)
        return measurement

    def _compare(
        self,
        prepared: PreparedNetwork,
        *,
        is_done: Callable[[list[Comparison]], bool],
        patience_s: float,
    ) -> list[Session]:
        """Alternate network and reference in fresh sessions until it is enough."""
        sessions: list[Session] = []
        card = self._runtime.card
        quiet = quiet_process(threads=card.threads, pinning=card.pinning)
        with quiet, self._runtime.threads_claimed():
            wall_ns, cpu_s = self._clock.wall_ns(), self._clock.cpu_s()
            for number in itertools.count(1):
                sessions.append(self._session(prepared))
                is_late = (
                    self._clock.cpu_s() - cpu_s > patience_s
                    or self._clock.wall_ns() - wall_ns > MAX_WAIT * patience_s * 1e9
                )
                if number >= NUM_SESSIONS and (is_late or is_done(comparisons_of(sessions))):
                    return sessions
        raise AssertionError  # pragma: no cover - the loop above has no other end

    def _session(self, prepared: PreparedNetwork) -> Session:
        network, load = self._load(prepared)
        reference = self._runtime.load(self._reference)
        calls_of_reference, calls_of_network = self._warm_up(reference), self._warm_up(network)
        comparisons: list[Comparison] = []
        before = self._visit(reference, calls_of_reference)
        for _ in range(self._visits_a_session):
            visit = self._visit(network, calls_of_network)
            after = self._visit(reference, calls_of_reference)
            comparisons.append(Comparison(before, visit, after))
            before = after
        return Session(load, comparisons)

    def _load(self, prepared: PreparedNetwork) -> tuple[LoadedNetwork, FreshLoad]:
        """Load a network and call it once, before the reference takes memory."""
        wall_ns = self._clock.wall_ns
        counts_memory = forget_peak_memory()
        begin_ns = wall_ns()
        loaded = self._runtime.load(prepared)
        loaded_ns = wall_ns()
        loaded.run()
        called_ns = wall_ns()
        return loaded, FreshLoad(
            load_ms=(loaded_ns - begin_ns) / 1e6,
            first_call_ms=(called_ns - loaded_ns) / 1e6,
            peak_memory_bytes=peak_memory_bytes() if counts_memory else None,
        )

    def _warm_up(self, loaded: LoadedNetwork) -> int:
        """Call a network until it gets no faster; return how many calls a visit should make."""
        fastest_ms = settled_ms = math.inf
        num_settled = 0
        for _ in range(MAX_WARMUP * self._warmup_runs):
            latency_ms = self._visit(loaded, 1).latency_ms
            fastest_ms = min(fastest_ms, latency_ms)
            if latency_ms < (1 - WARMER) * settled_ms:
                settled_ms, num_settled = latency_ms, 0
            else:
                num_settled += 1
            if num_settled == self._warmup_runs:
                break
        return int(np.clip(VISIT_MS / fastest_ms, 1, MAX_CALLS_A_VISIT))

    def _visit(self, loaded: LoadedNetwork, calls: int) -> Visit:
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
        return Visit(np.diff(stamps) / 1e6, cpu_ms if counts_cpu else None)


def quiet_reference_ms(reference_p10_ms: Sequence[float]) -> float:
    """Return the latency of the reference network on the quiet machine.

    Args:
        reference_p10_ms: What each of some measurements saw of it.
    """
    return float(np.quantile(reference_p10_ms, QUIET_QUANTILE))


def _estimate(comparisons: list[Comparison], reference_ms: float) -> Ratio:
    return estimate_ratio(
        np.array([c.network.latency_ms for c in comparisons]),
        np.array([c.before.latency_ms for c in comparisons]),
        np.array([c.after.latency_ms for c in comparisons]),
        quiet_ms=reference_ms,
    )


def comparisons_of(sessions: Sequence[Session]) -> list[Comparison]:
    """Return what was measured in all sessions, in order."""
    return [one for session in sessions for one in session.comparisons]


def summarize(sessions: Sequence[Session], reference_ms: float) -> LatencyMeasurement:
    """Return the latency that visits in turn say, and what loading took.

    Args:
        sessions: At least one, with at least one comparison.
        reference_ms: Latency of the reference network on the quiet machine.
    """
    comparisons = comparisons_of(sessions)
    ratio = _estimate(comparisons, reference_ms)
    calls = _representative_calls(comparisons, ratio)
    before_ms = np.array([c.before.latency_ms for c in comparisons])
    # Of all calls that count, as a multiple of the median.
    spread = max(float(np.quantile(calls, 0.95) / np.median(calls)), 1.0)
    num_calls = sum(len(c.network.times_ms) for c in comparisons)
    return LatencyMeasurement(
        p50_ms=ratio.value * reference_ms,
        p95_ms=max(ratio.value * spread, ratio.high) * reference_ms,
        ci_low_ms=ratio.low * reference_ms,
        ci_high_ms=ratio.high * reference_ms,
        num_runs=len(calls),
        num_dropped_runs=num_calls - len(calls),
        reference_ms=reference_ms,
        reference_p10_ms=_reference_p10_ms(comparisons),
        slowdown=float(np.median(before_ms)) / reference_ms,
        is_contended=ratio.is_contended,
        load_ms=min(session.load.load_ms for session in sessions),
        first_call_ms=min(session.load.first_call_ms for session in sessions),
        peak_memory_mb=_least_peak_mb(sessions),
    )


def _least_peak_mb(sessions: Sequence[Session]) -> float | None:
    """Return the least peak: what an earlier network left behind is in the others."""
    peaks = [session.load.peak_memory_bytes for session in sessions]
    known = [peak for peak in peaks if peak is not None]
    return min(known) / 1e6 if known else None


def _representative_calls(comparisons: list[Comparison], ratio: Ratio) -> FloatArray:
    """Return the times of the calls of quiet visits; of all visits where few were quiet."""
    visits = sorted((c.network for c in comparisons), key=lambda visit: visit.latency_ms)
    kept = visits if ratio.is_contended else visits[: ratio.num_quiet]
    return np.concatenate([visit.times_ms for visit in kept])


def _reference_p10_ms(comparisons: list[Comparison]) -> float:
    return float(np.quantile([c.before.latency_ms for c in comparisons], 0.1))
