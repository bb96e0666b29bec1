"""The real world of a search for a device in int8: verified are files as they would ship."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ofa_pipeline.arch import Arch
from ofa_pipeline.compute import SERIAL
from ofa_pipeline.devices import Device, LatencyMeasurement, QuantizedFiles
from ofa_pipeline.measuring import MeasurementNotes, measure_all

if TYPE_CHECKING:
    from ofa_pipeline.evaluation import AccuracyBench

Figure = Literal["accuracy_top1", "p50_ms"]
_LABELS: Mapping[Figure, str] = {"accuracy_top1": "accuracy in int8", "p50_ms": "latency in int8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileTask:
    arch: Arch
    figure: Figure

    @property
    def key(self) -> str:
        return f"int8 {self.figure} {self.arch.arch_id}"


class QuantizedWorld:
    """Quantises calibrated subnets; evaluates and measures the same files on the device."""

    def __init__(
        self,
        bench: "AccuracyBench",
        open_device: Callable[[], Device],
        *,
        log: MeasurementNotes,
        folder: Path,
    ) -> None:
        """Measure nothing yet.

        Args:
            bench: Bench of the supernet.
            open_device: Returns the device; called once, when something is to be measured.
            log: What an interrupted search has measured.
            folder: Where the files are kept meanwhile.
        """
        self._bench = bench
        self._open_device = open_device
        self._log = log
        self._folder = folder

    def evaluate(self, archs: Sequence[Arch], *, label: str) -> list[float]:
        """Return top-1 of each file on selection images, a fraction."""
        rows = self._measure_all(archs, "accuracy_top1", label)
        return [float(row["accuracy_top1"]) for row in rows]

    def measure(self, archs: Sequence[Arch], *, label: str) -> list[LatencyMeasurement]:
        """Return the latency of each file.

        Raises:
            AwaitedError: If the device is elsewhere, and somebody has to go there.
        """
        done = self._log.rows
        missing = [a for a in archs if _FileTask(arch=a, figure="p50_ms").key not in done]
        if missing:
            files = {arch: [self._file(arch)] for arch in missing}
            self._device.expect(missing, files=files, are_candidates=True)
        rows = self._measure_all(archs, "p50_ms", label)
        return [LatencyMeasurement.from_dict(row) for row in rows]

    def _measure_all(
        self, archs: Sequence[Arch], figure: Figure, label: str
    ) -> list[dict[str, Any]]:
        return measure_all(
            [_FileTask(arch=arch, figure=figure) for arch in archs],
            lambda: self._row,
            log=self._log,
            executor=SERIAL,
            label=f"{label}: {_LABELS[figure]}",
            shown=(figure,),
        )

    def _row(self, task: _FileTask) -> dict[str, Any]:
        file, resolution_px = self._file(task.arch), task.arch.resolution_px
        if task.figure == "p50_ms":
            return self._device.measure(file, resolution_px=resolution_px).to_dict()
        accuracy = self._files.accuracy_top1(file, resolution_px=resolution_px)
        num_images = self._bench.evaluator.evaluation.num_images
        return {"accuracy_top1": accuracy, "num_images": num_images}

    def _file(self, arch: Arch) -> Path:
        """Return the file of a subnet; it is quantised once."""
        path = self._folder / arch.arch_id / self._device.runtime.file_name
        if not path.exists():
            self._files.write(self._bench.evaluator.calibrated_subnet(arch).cpu(), path)
        return path

    @cached_property
    def _device(self) -> Device:
        return self._open_device()

    @cached_property
    def _files(self) -> QuantizedFiles:
        return QuantizedFiles(self._device, self._bench.evaluator)
