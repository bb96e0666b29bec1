"""Latency meter: strict alternation with a reference network, compared while the machine is quiet.

On a shared machine the speed of a core drifts by tens of percent within milliseconds to minutes,
so the median of many calls repeats to 5 to 15 % only. Here every visit to a network stands
between two visits to a reference network, whose latency on the quiet machine is known. The
decision and its figures: ``docs/adr/0030-latency-is-a-ratio.md``.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ofa_pipeline.arch import FloatArray
from ofa_pipeline.devices.fresh_load import FreshLoad, load_afresh
from ofa_pipeline.devices.measurement import Ratio, estimate_ratio
from ofa_pipeline.devices.quiet import quiet_process
from ofa_pipeline.devices.runtime import LoadedNetwork, PreparedNetwork, Runtime, noise_images
from ofa_pipeline.devices.warm_up import WarmUp, warm_up
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
BUSY_PATIENCE_S = 0.9
"""The same where the machine was hardly ever quiet: a quiet moment is waited for."""
MAX_WAIT = 2.5
"""Wall time after which none begins, as a multiple of it, where other processes have the core."""
CALIBRATION_S = 1.5
"""How long a reference network without a known latency is watched at first."""
QUIET_QUANTILE = 0.25
"""The latency of the reference network in this share of the measurements: the quiet machine's."""
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
class Session:
    """What was measured of a network that was loaded afresh."""

    is_warm: bool | None
    """Whether it and the reference became no faster before they were timed; None: not known."""
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
        self._has_imported = False

    @property
    def reference_ms(self) -> float:
        """Latency of the reference network on the quiet machine.

        Unless it was given, it is measured when first asked for, and follows what is seen of the
        reference network later.
        """
        if self._given_ms is not None:
            return self._given_ms
        if not self._seen_ms:
            with self._quiet():
                seen = self._compare(self._reference, patience_s=lambda _: CALIBRATION_S)
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
        with self._quiet():
            load = self._load_alone(prepared)
            sessions = self._compare(
                prepared,
                patience_s=lambda found: _patience_s(_estimate(found, reference_ms)),
            )
        measurement = summarize(sessions, [load], reference_ms)
        self._seen_ms.append(measurement.reference_p10_ms)
        return measurement

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Hold away what disturbs, with the threads of the card."""
        card = self._runtime.card
        quiet = quiet_process(threads=card.threads, pinning=card.pinning)
        with quiet, self._runtime.threads_claimed():
            yield

    def _load_alone(self, prepared: PreparedNetwork) -> FreshLoad:
        """Load a network, call it once and let go of it: no other one is in memory meanwhile.

        The sessions load the reference first. With the network first, latencies were 1 to 2 %
        higher: where in memory a network lies is part of its latency (ADR 0220).
        """
        if not self._has_imported:  # what the runtime imports for its first file is no network's
            self._runtime.load(self._reference).run()
            self._has_imported = True
        images = noise_images(self._runtime.card.batch_size, prepared.resolution_px)
        _, load = load_afresh(
            lambda: self._runtime.load(prepared, images=images),
            lambda loaded: loaded.run(),
            wall_ns=self._clock.wall_ns,
        )
        return load

    def _compare(
        self,
        prepared: PreparedNetwork,
        *,
        patience_s: Callable[[list[Comparison]], float],
    ) -> list[Session]:
        """Alternate network and reference in fresh sessions until it is enough.

        Args:
            prepared: The network.
            patience_s: Returns the CPU time that is given to comparisons, after a look at those
                that were made.
        """
        sessions: list[Session] = []
        wall_ns, cpu_s = self._clock.wall_ns(), self._clock.cpu_s()
        for number in itertools.count(1):
            sessions.append(self._session(prepared))
            if number < NUM_SESSIONS:
                continue
            given_s = patience_s(comparisons_of(sessions))
            if (
                self._clock.cpu_s() - cpu_s > given_s
                or self._clock.wall_ns() - wall_ns > MAX_WAIT * given_s * 1e9
            ):
                return sessions
        raise AssertionError  # pragma: no cover - the loop above has no other end

    def _session(self, prepared: PreparedNetwork) -> Session:
        reference = self._runtime.load(self._reference)
        network = self._runtime.load(prepared)
        warm_ups = self._warm_up(reference), self._warm_up(network)
        calls_of_reference, calls_of_network = (_calls_a_visit(one.fastest_ms) for one in warm_ups)
        comparisons: list[Comparison] = []
        before = self._visit(reference, calls_of_reference)
        for _ in range(self._visits_a_session):
            visit = self._visit(network, calls_of_network)
            after = self._visit(reference, calls_of_reference)
            comparisons.append(Comparison(before, visit, after))
            before = after
        is_warm = all(one.is_warm for one in warm_ups)
        return Session(is_warm=is_warm, comparisons=comparisons)

    def _warm_up(self, loaded: LoadedNetwork) -> WarmUp:
        return warm_up(loaded.run, calls=self._warmup_runs, wall_ns=self._clock.wall_ns)

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


def _calls_a_visit(latency_ms: float) -> int:
    return int(np.clip(VISIT_MS / latency_ms, 1, MAX_CALLS_A_VISIT))


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


def _patience_s(ratio: Ratio) -> float:
    """Return the CPU time that a measurement gets that has come to this ratio."""
    if ratio.is_contended:
        return BUSY_PATIENCE_S
    return 0.0 if ratio.half_width <= PRECISION else PATIENCE_S


def comparisons_of(sessions: Sequence[Session]) -> list[Comparison]:
    """Return what was measured in all sessions, in order."""
    return [one for session in sessions for one in session.comparisons]


def summarize(
    sessions: Sequence[Session], loads: Sequence[FreshLoad], reference_ms: float
) -> LatencyMeasurement:
    """Return the latency that visits in turn say, and what loading took.

    Args:
        sessions: At least one, with at least one comparison.
        loads: At least one; the least figures count, as disturbances only add to them.
        reference_ms: Latency of the reference network on the quiet machine.
    """
    comparisons = comparisons_of(sessions)
    ratio = _estimate(comparisons, reference_ms)
    calls = _representative_calls(comparisons, ratio)
    before_ms = np.array([c.before.latency_ms for c in comparisons])
    # Of all calls that count, as a multiple of the median.
    spread = max(float(np.quantile(calls, 0.95) / np.median(calls)), 1.0)
    num_calls = sum(len(c.network.times_ms) for c in comparisons)
    memory = _least_memory(loads)
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
        is_warm=_is_warm(sessions),
        load_ms=min(load.load_ns for load in loads) / 1e6,
        first_call_ms=min(load.first_call_ns for load in loads) / 1e6,
        peak_memory_mb=memory[0] / 1e6 if memory else None,
        network_memory_mb=memory[1] / 1e6 if memory else None,
    )


def _is_warm(sessions: Sequence[Session]) -> bool | None:
    """Tell whether all sessions were warm; None if that is not known of one."""
    states = {session.is_warm for session in sessions}
    return None if None in states else states == {True}


def _least_memory(loads: Sequence[FreshLoad]) -> tuple[int, int] | None:
    """Return the least peak in bytes, and what of it came while the network was loaded and called.

    What networks of earlier loads left behind is in the other peaks.
    """
    known = [
        (load.peak_bytes, load.peak_bytes - load.resident_bytes)
        for load in loads
        if load.peak_bytes is not None and load.resident_bytes is not None
    ]
    return min(known, default=None)


def _representative_calls(comparisons: list[Comparison], ratio: Ratio) -> FloatArray:
    """Return the times of the calls of quiet visits; of all visits where few were quiet."""
    visits = sorted((c.network for c in comparisons), key=lambda visit: visit.latency_ms)
    kept = visits if ratio.is_contended else visits[: ratio.num_quiet]
    return np.concatenate([visit.times_ms for visit in kept])


def _reference_p10_ms(comparisons: list[Comparison]) -> float:
    return float(np.quantile([c.before.latency_ms for c in comparisons], 0.1))
