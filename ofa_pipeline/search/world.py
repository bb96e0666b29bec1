"""The real world of a search: accuracies of a supernet's subnets, latencies of a device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.compute import SERIAL, Executor
from ofa_pipeline.devices import Device, LatencyMeasurement
from ofa_pipeline.latency import LatencyProfile
from ofa_pipeline.measuring import MeasurementNotes, measure_all
from ofa_pipeline.predictor import check_same_space, load_compared_subnets, load_predictor
from ofa_pipeline.search.verify import Knowledge

if TYPE_CHECKING:
    from ofa_pipeline.evaluation import AccuracyBench


def load_knowledge(
    space: SearchSpace, profile: LatencyProfile, *, predictor: Path, accuracy: Path
) -> Knowledge:
    """Return the predictor, the subnets that it learned from, and the latency model.

    Args:
        space: The space that is searched.
        profile: Profile of the device.
        predictor: Its artifact.
        accuracy: The artifact of the measured subnets.

    Raises:
        MissingArtifactError: If a file is not there.
        ArchError: If the predictor is for another space.
    """
    fitted = load_predictor(predictor)
    check_same_space(fitted, space)
    subnets, _ = load_compared_subnets(accuracy, space)
    return Knowledge(
        predictor=fitted,
        genes=subnets.genes,
        accuracy=subnets.accuracy,
        latency=lambda genes: profile.model.predict(space, genes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _LatencyTask:
    arch: Arch

    @property
    def key(self) -> str:
        return f"latency {self.arch.arch_id}"


class MeasuredWorld:
    """Evaluates subnets side by side, then measures them one at a time on the quiet machine."""

    def __init__(
        self,
        bench: "AccuracyBench",
        open_device: Callable[[], Device],
        *,
        log: MeasurementNotes,
        executor: Executor,
    ) -> None:
        """Measure nothing yet.

        Args:
            bench: Bench of the supernet.
            open_device: Returns the device; called once, when something is to be measured.
            log: What an interrupted search has measured.
            executor: Where accuracies are computed.
        """
        self._bench = bench
        self._open_device = open_device
        self._device: Device | None = None
        self._log = log
        self._executor = executor

    def evaluate(self, archs: Sequence[Arch], *, label: str) -> list[float]:
        """Return top-1 on selection images of each subnet, a fraction."""
        from ofa_pipeline.evaluation import AccuracyTask

        rows = measure_all(
            [AccuracyTask(arch=arch) for arch in archs],
            self._bench,
            log=self._log,
            executor=self._executor,
            label=f"{label}: accuracy",
        )
        return [float(row["accuracy_top1"]) for row in rows]

    def measure(self, archs: Sequence[Arch], *, label: str) -> list[LatencyMeasurement]:
        """Return the latency of each calibrated subnet in the form that ships.

        Raises:
            AwaitedError: If the device is elsewhere, and somebody has to go there.
        """
        missing = [a for a in archs if _LatencyTask(arch=a).key not in self._log.rows]
        if missing:
            self._device = self._device or self._open_device()
            self._device.expect(missing)
        rows = measure_all(
            [_LatencyTask(arch=arch) for arch in archs],
            self._measurer,
            log=self._log,
            executor=SERIAL,
            label=f"{label}: latency",
            shown=("p50_ms",),
        )
        return [LatencyMeasurement.from_dict(row) for row in rows]

    def _measurer(self) -> Callable[[_LatencyTask], dict[str, Any]]:
        device = self._device = self._device or self._open_device()
        evaluator = self._bench.evaluator

        def measure(task: _LatencyTask) -> dict[str, Any]:
            subnet = evaluator.calibrated_subnet(task.arch).cpu()
            return device.measure(subnet, resolution_px=task.arch.resolution_px).to_dict()

        return measure
