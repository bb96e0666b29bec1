"""How fast this machine is at what a run does: some real steps, evaluations, measurements."""

import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ofa_pipeline.planning.rates import Rates
from ofa_pipeline.planning.work import WorkOfRun
from ofa_pipeline.progress import ProgressEvent, Reporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ofa_pipeline.data import Batch, Split
    from ofa_pipeline.supernet import Supernet
    from ofa_pipeline.training import Phase, Teacher

STEPS_S = 5.0
"""How long the steps of a phase are measured: two steps at least, the first of which does not
count."""
_MOST_STEPS, _LEAST_STEPS = 60, 3
_FORWARD_S = 2.0
_MEASURED_NETWORKS = 2
_KIB = 1024
_GIGA = 1e9
_IMPORT = "import ofa_pipeline.cli.pipeline, ofa_pipeline.stages.train_supernet"
_ASKING_S = 0.5
"""Of DVC, for a stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured."""

    rates: Rates
    memory_bytes: int
    """Peak of a process that trains, without the images that stay in memory."""
    gpu_memory_bytes: int
    num_steps: int
    """Training steps that were taken."""


class _EnoughError(Exception):
    """Ends a measurement from within the loop."""


class _RandomImages:
    """A split of random pixels: as many batches as anybody wants, none of which is kept."""

    fits_memory = False
    """Batches come to the device one by one."""

    def __init__(
        self, *, canvas_px: tuple[int, int], num_classes: int, batches: int, batch_size: int
    ) -> None:
        self._canvas_px = canvas_px
        self._num_classes = num_classes
        self.num_images = batches * batch_size

    def shuffled_batches(self, batch_size: int, **_: Any) -> "Iterator[Batch]":  # noqa: ANN401
        """Yield the same batch again and again."""
        import torch

        from ofa_pipeline.data import Batch

        generator = torch.Generator().manual_seed(0)
        shape = (batch_size, 3, *self._canvas_px)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, self._num_classes, (batch_size,), generator=generator)
        for _number in range(self.num_images // batch_size):
            yield Batch(images=images, labels=labels, ids=torch.arange(batch_size))


def measure_machine(
    work: WorkOfRun,
    thumb: Rates,
    *,
    canvas_px: tuple[int, int],
    phases: tuple[str, ...],
    devices: tuple[str, ...],
    reporter: Reporter,
) -> Measured:
    """Measure what the run will do, for about a minute.

    Args:
        work: The work of the run.
        thumb: What is not measured.
        canvas_px: Rows and columns of a batch's images, as training reads them.
        phases: Those whose steps are measured.
        devices: Those on which latency is measured.
        reporter: Told of what is measured.

    Raises:
        DeviceError: If this machine cannot serve a device.
    """
    from ofa_pipeline.memory import keep_freed_memory

    reporter.message("how long a stage takes to start")
    start_s = _start_s()
    measurement_s = {}
    here = [name for name in devices if work.params.devices[name].card.location is None]
    for device in here:  # before memory is kept: no latency is measured with that
        reporter.message(f"latency on {device}")
        measurement_s[device] = _measurement_s(work, device)
    keep_freed_memory()
    bench = _Bench(work, canvas_px=canvas_px)
    rates = replace(thumb, start_s=start_s, measurement_s=measurement_s)
    rates = replace(rates, forward_gmacs_per_s=bench.forward_gmacs_per_s())
    for phase in phases:
        reporter.message(f"training steps of phase {phase}")
        speed = bench.train_gmacs_per_s(phase)
        by_phase = {**rates.phase_gmacs_per_s, phase: speed}
        # The last one is like fine-tuning: its subnets are of all sizes.
        rates = replace(rates, phase_gmacs_per_s=by_phase, train_gmacs_per_s=speed)
    return Measured(
        rates=rates,
        memory_bytes=_KIB * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        gpu_memory_bytes=bench.gpu_memory_bytes(),
        num_steps=bench.num_steps,
    )


def _start_s() -> float:
    """Return how long a process with the code of a stage takes to begin."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", _IMPORT], check=True)
    return time.perf_counter() - begin + _ASKING_S


def _measurement_s(work: WorkOfRun, device: str) -> float:
    """Return how long it takes to build, export and measure a network on a device."""
    from ofa_pipeline.latency import LatencyBench, LatencyTask, reference_arch

    params = work.params
    bench = LatencyBench(
        params.devices[device].card,
        work.space,
        num_classes=work.num_classes,
        warmup_runs=params.latency.warmup_runs,
        timed_runs=params.latency.timed_runs,
    )
    measure = bench()
    begin = time.perf_counter()
    for arch in (reference_arch(work.space), work.space.smallest):
        measure(LatencyTask(arch=arch, role="fit"))
    return (time.perf_counter() - begin) / _MEASURED_NETWORKS


class _Bench:
    """A supernet with random weights, trained and evaluated for some seconds."""

    def __init__(self, work: WorkOfRun, *, canvas_px: tuple[int, int]) -> None:
        from ofa_pipeline.compute import compute_device
        from ofa_pipeline.supernet import build_supernet

        self._params = work.params
        self._work = work
        self._canvas_px = canvas_px
        self._device = compute_device()
        supernet = build_supernet(work.space, num_classes=work.num_classes, dropout=0.0, seed=0)
        self._supernet: Supernet = supernet.to(self._device)
        self.num_steps = 0

    def train_gmacs_per_s(self, name: str) -> float:
        """Return what the steps of a phase compute in a second."""
        from ofa_pipeline.data import IMAGENET_NORMALIZATION
        from ofa_pipeline.training import (
            Hooks,
            TrainingImages,
            deterministic,
            recipe_of,
            train_phase,
        )

        training, phase = self._params.training, self._work.phase(name)
        images = _RandomImages(
            canvas_px=self._canvas_px,
            num_classes=self._work.num_classes,
            batches=_MOST_STEPS,
            batch_size=training.batch_size,
        )
        ends = [time.perf_counter()]

        def note(event: ProgressEvent) -> None:
            self._wait()
            ends.append(time.perf_counter())
            is_long = ends[-1] - ends[0] > STEPS_S and len(ends) > _LEAST_STEPS - 1
            if not event.total or is_long:
                raise _EnoughError

        with deterministic(threads=training.threads, is_wanted=training.deterministic):
            try:
                train_phase(
                    self._supernet,
                    phase,
                    images=TrainingImages(
                        split=cast("Split", images), normalization=IMAGENET_NORMALIZATION
                    ),
                    recipe=recipe_of(training),
                    teacher=self._teacher(name),
                    hooks=Hooks(reporter=Reporter(note, interval_s=0)),
                )
            except _EnoughError:
                steps = len(ends) - 1
        self.num_steps += steps
        # The first allocates what the others find; on CUDA, some record what others replay.
        first = steps // 2 if self._device == "cuda" else int(steps > 1)
        gmacs = sum(self._drawn_gmacs(phase, number) for number in range(first, steps))
        return gmacs / max(ends[-1] - ends[first], 1e-9)

    def forward_gmacs_per_s(self) -> float:
        """Return what evaluations side by side compute in a second."""
        import torch

        from ofa_pipeline.compute import free_workers, torch_threads
        from ofa_pipeline.supernet import extract_subnet
        from ofa_pipeline.training import deterministic

        space, batch = self._work.space, self._params.evaluation.batch_size
        genes = space.canonicalize(space.sample(np.random.default_rng(0), 1))
        [arch] = space.archs(genes)
        network = extract_subnet(self._supernet, arch).eval()
        network = network.to(memory_format=torch.channels_last)
        side = arch.resolution_px
        images = torch.zeros(batch, 3, side, side, device=self._device)

        def forward(_: int) -> None:
            with torch.no_grad():
                network(images)

        with deterministic(threads=self._params.evaluation.threads):
            workers = free_workers()
            rounds, begin = 0, 0.0
            with torch_threads(workers, "forward") as pool:
                list(pool.map(forward, range(workers)))
                self._wait()
                begin = time.perf_counter()
                while not rounds or time.perf_counter() - begin < _FORWARD_S:
                    list(pool.map(forward, range(workers)))
                    rounds += 1
                self._wait()
        passed = time.perf_counter() - begin
        return rounds * workers * batch * self._work.macs(arch) / _GIGA / passed

    def gpu_memory_bytes(self) -> int:
        """Return the peak on the CUDA device; 0 without one."""
        import torch

        return torch.cuda.max_memory_allocated() if self._device == "cuda" else 0

    def _wait(self) -> None:
        """Wait for what the device still computes."""
        import torch

        if self._device == "cuda":
            torch.cuda.synchronize()

    def _drawn_gmacs(self, phase: "Phase", number: int) -> float:
        """Return what a step computed: its subnets are drawn from seed, phase and number."""
        from ofa_pipeline.training import derive_seed

        seed = derive_seed(self._params.training.seed, phase.name, number, "archs")
        return self._work.step_gmacs(phase.archs.draw(np.random.default_rng(seed)))

    def _teacher(self, name: str) -> "Teacher | None":
        """Return the largest subnet as the teacher that a later phase has."""
        from ofa_pipeline.supernet import extract_subnet
        from ofa_pipeline.training import Teacher, learns_from_previous

        if not learns_from_previous(self._params.phases[name]):
            return None
        largest = extract_subnet(self._supernet, self._work.space.largest).eval()
        return Teacher(largest, None)
