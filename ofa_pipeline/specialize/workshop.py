"""From the architectures that were chosen to the bundles that ship."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import digest_file
from ofa_pipeline.compute import Executor
from ofa_pipeline.cost import arch_cost
from ofa_pipeline.data import Dataset
from ofa_pipeline.devices import Device, DeviceSettings
from ofa_pipeline.documents import (
    AccuracyFigures,
    BudgetChoice,
    BudgetVerdict,
    BundleEntry,
    BundleIndex,
    CalibrationImages,
    Card,
    CardFigures,
    ComputeCost,
    FinetuningCost,
    LatencyCertificate,
    QuantizationFigures,
    Runs,
    SubnetDescription,
)
from ofa_pipeline.evaluation import calibration_indices
from ofa_pipeline.progress import Reporter
from ofa_pipeline.specialize.build import BuiltFacts, BuiltSubnet, SubnetBuilder
from ofa_pipeline.specialize.bundle import ONNX_FILE, bundle_digest, shipped_file, write_bundle
from ofa_pipeline.specialize.certificate import NUM_ATTEMPTS, Certifier
from ofa_pipeline.specialize.choice import Choice
from ofa_pipeline.specialize.fine_tuning import TunedPick, TuningTask
from ofa_pipeline.specialize.others import OtherDevices
from ofa_pipeline.stopwatch import Stopwatch
from ofa_pipeline.training import deterministic


@dataclass(kw_only=True)
class Workshop:
    """Builds, measures and bundles the subnets of one device, each once."""

    name: str
    """Name of the device."""
    settings: DeviceSettings
    device: Device
    space: SearchSpace
    dataset: Dataset
    builder: SubnetBuilder
    threads: int
    """That subnets are built with; they are measured with those of the device."""
    is_deterministic: bool
    """Whether they are built with equal bits each time, on a GPU too."""
    calibration_images: int
    """At most all of the calibration split."""
    lineage: Mapping[str, str]
    """What the bundles are made from: digests by path."""
    stopwatch: Stopwatch
    """Notes the seconds after each subnet that is built."""
    executor: Executor
    """Makes the weights of subnets, where it has processes of its own for them."""
    tuning: Callable[[], Callable[[TuningTask], TunedPick]]
    """What it is given to do; pickle carries it."""
    others: OtherDevices
    """Have the weights of subnets that were picked for them, too."""
    reporter: Reporter
    _built: dict[Arch, BuiltSubnet] = field(default_factory=dict)
    _certifiers: dict[Arch, Certifier] = field(default_factory=dict)

    def build_all(self, archs: Collection[Arch]) -> None:
        """Build subnets, fine-tuned side by side where the executor has processes for it.

        One process fine-tunes them one after the other: a step takes all cores already.
        """
        for arch in archs:
            self.space.check(arch)
        new = [arch for arch in archs if arch not in self._built]
        with deterministic(threads=self.threads, is_wanted=self.is_deterministic):
            self._take_from_others(new)
            if self.executor.has_processes and new:
                self._take_from_executor(new)
            for arch in new:
                if arch not in self._built:
                    self._build(arch)

    def _take_from_others(self, archs: Sequence[Arch]) -> None:
        for arch in archs:
            pick = None if self.builder.is_built(arch) else self.others.find(arch)
            if pick is not None:
                self.builder.take(arch, pick)
                self._build(arch)

    def _take_from_executor(self, archs: Sequence[Arch]) -> None:
        missing = [TuningTask(arch=arch) for arch in archs if not self.builder.is_built(arch)]
        label = f"fine-tuned for {self.name}"
        progress = self.reporter.track(label, total=len(archs), unit="subnets")
        progress.skip(len(archs) - len(missing))
        for task, pick in self.executor.run(self.tuning, missing):
            self.builder.take(task.arch, pick)
            self._build(task.arch)
            progress.advance()

    def _build(self, arch: Arch) -> None:
        self._built[arch] = self.builder.build(arch)
        self.stopwatch.note()

    def built(self, arch: Arch) -> BuiltSubnet:
        """Return a subnet with its files."""
        if arch not in self._built:
            self.build_all([arch])
        return self._built[arch]

    def expect(self, archs: Sequence[Arch]) -> None:
        """Have the files of subnets measured at once, where the device wants that.

        Raises:
            AwaitedError: If somebody has to go to the device.
        """
        files = {arch: self._measured_files(self.built(arch)) for arch in archs}
        self.device.expect(archs, files=files)

    def _measured_files(self, built: BuiltSubnet) -> list[Path]:
        """Return the file that ships and, where that is in int8, the one in float32 beside it."""
        names = [self.shipped]
        if built.facts.quantization is not None and self._runs_float_file:
            names.append(ONNX_FILE)
        return [built.folder / name for name in names]

    @property
    def _runs_float_file(self) -> bool:
        """Whether the device's runtime runs the float32 file that every bundle holds."""
        return shipped_file(self.settings.runtime) == ONNX_FILE

    def certifier(self, arch: Arch) -> Certifier:
        """Return what measures the file of a subnet that the device runs."""
        if arch not in self._certifiers:
            self.expect([arch])
            path = self.built(arch).folder / self.shipped
            self._certifiers[arch] = Certifier(
                lambda: self.device.measure(path, resolution_px=arch.resolution_px),
                max_attempts=NUM_ATTEMPTS if self.settings.location is None else 1,
            )
        return self._certifiers[arch]

    @property
    def shipped(self) -> str:
        """Name of the file that the device runs."""
        return shipped_file(self.settings.runtime, self.settings.precision)

    def meets(self, arch: Arch, budget_ms: float) -> bool:
        """Return whether a subnet meets a budget as it ships."""
        return self.certifier(arch).meets(budget_ms)

    def describe(self, arch: Arch) -> str:
        """Return the latency of a subnet as it ships, for messages."""
        return f"{self.certifier(arch).certificate.measurement.p50_ms:.4g} ms"

    def write(self, choices: Sequence[Choice], folder: Path) -> BundleIndex:
        """Write the bundle of each subnet that was chosen, and return their index."""
        archs = dict.fromkeys(choice.arch for choice in choices)
        return BundleIndex(
            device=self.name,
            bundles=tuple(self._write(arch, choices, folder) for arch in archs),
            picks=tuple(
                BudgetChoice(budget_ms=c.budget_ms, bundle=c.arch.arch_id, rank=c.rank)
                for c in choices
            ),
        )

    def prediction_columns(self, choices: Sequence[Choice]) -> dict[str, Any]:
        """Return `PREDICTIONS_SCHEMA`'s columns: the answers of each subnet on test images."""
        unique = [self.built(arch) for arch in dict.fromkeys(choice.arch for choice in choices)]
        labels = self.dataset.split("test").labels.tolist()
        return {
            "arch_id": [subnet.arch.arch_id for subnet in unique for _ in labels],
            "image": [image for _ in unique for image in range(len(labels))],
            "label": labels * len(unique),
            "predicted": [int(value) for subnet in unique for value in subnet.predicted],
        }

    def _write(self, arch: Arch, choices: Sequence[Choice], folder: Path) -> BundleEntry:
        """Write a bundle and return its entry in the index."""
        built = self.built(arch)
        figures = self._figures(
            built, sorted(choice.budget_ms for choice in choices if choice.arch == arch)
        )
        write_bundle(
            folder / arch.arch_id,
            files_from=built.folder,
            subnet=self._subnet(arch),
            card=Card(**dict(figures)),
        )
        return BundleEntry(
            **dict(figures),
            name=arch.arch_id,
            bundle_digest=bundle_digest(folder / arch.arch_id),
            arch=arch,
            space_id=self.space.space_id,
            num_classes=self.dataset.num_classes,
        )

    def _subnet(self, arch: Arch) -> SubnetDescription:
        dataset = self.dataset
        calibration = calibration_indices(
            dataset.num_images["calibration"],
            self.calibration_images,
            draw=0,
        )
        return SubnetDescription(
            arch=arch,
            arch_id=arch.arch_id,
            space=self.space,
            num_classes=dataset.num_classes,
            class_names=dataset.class_names,
            mean=dataset.normalization.mean,
            std=dataset.normalization.std,
            image_size_px=dataset.image_size_px,
            value_range=dataset.value_range,
            calibration=CalibrationImages(split="calibration", images=tuple(calibration)),
            runs=Runs(
                runtime=self.settings.runtime,
                file=self.shipped,
                accelerator=self.settings.accelerator,
                threads=self.settings.threads,
                precision=self.settings.precision,
                options=self.settings.options,
            ),
        )

    def _figures(self, built: BuiltSubnet, budgets_ms: Sequence[float]) -> CardFigures:
        """Return what the card of a bundle says, and the index repeats."""
        cost = arch_cost(self.space, built.arch, num_classes=self.dataset.num_classes)
        return CardFigures(
            arch_id=built.arch.arch_id,
            budgets_ms=tuple(budgets_ms),
            accuracy=self._accuracy(built.facts),
            latency={self.name: self._certificate(built, budgets_ms)},
            cost=ComputeCost(macs=cost.macs, num_params=cost.num_params),
            finetuning=self._finetuning(built.facts),
            parity=built.facts.parity,
            quantization=self._quantization(built),
            lineage=dict(self.lineage),
        )

    def _quantization(self, built: BuiltSubnet) -> QuantizationFigures | None:
        """Return what int8 costs, with the latency that float32 would have on the device."""
        figures = built.facts.quantization
        if figures is None or not self._runs_float_file:
            return figures
        measured = self.device.measure(
            built.folder / ONNX_FILE, resolution_px=built.arch.resolution_px
        )
        return figures.model_copy(update={"p50_ms_float": measured.p50_ms})

    def _accuracy(self, facts: BuiltFacts) -> AccuracyFigures:
        test, tuning, quantized = facts.test, facts.tuning, facts.quantization
        return AccuracyFigures(
            accuracy_top1=test.accuracy_top1,
            accuracy_top5=test.accuracy_top5,
            num_test_images=test.num_images,
            accuracy_top1_selection=(
                quantized.accuracy_top1_selection if quantized else tuning.accuracy_top1
            ),
            accuracy_top1_selection_extracted=tuning.accuracy_top1_extracted,
            accuracy_top1_selection_finetuned=tuning.accuracy_top1_finetuned,
            num_selection_images=tuning.num_images,
            is_finetuned=tuning.is_finetuned,
            evaluated_file=self.shipped,
        )

    def _certificate(self, built: BuiltSubnet, budgets_ms: Sequence[float]) -> LatencyCertificate:
        certificate = self.certifier(built.arch).certificate
        return LatencyCertificate(
            **certificate.measurement.to_dict(),
            attempts_p50_ms=certificate.attempts_p50_ms,
            card=self.device.card,
            file=self.shipped,
            file_digest=digest_file(built.folder / self.shipped),
            verdicts=tuple(
                BudgetVerdict(budget_ms=budget_ms, verdict=certificate.verdict(budget_ms))
                for budget_ms in budgets_ms
            ),
        )

    def _finetuning(self, facts: BuiltFacts) -> FinetuningCost:
        """Return what the fine-tuning took, and what its teacher costs; it may not be kept."""
        teacher_macs = 0
        if self.builder.has_teacher:
            largest, num_classes = self.space.largest, self.dataset.num_classes
            teacher_macs = arch_cost(self.space, largest, num_classes=num_classes).macs
        return FinetuningCost(
            **facts.finetuning_seconds.to_dict(),
            epochs=facts.tuning.num_epochs,
            teacher_macs=teacher_macs,
        )


def quantization_messages(device: str, bundles: Sequence[BundleEntry]) -> list[str]:
    """Return what int8 costs and gives each subnet of a device; nothing of one in float32."""
    return [
        f"subnet {entry.arch_id} in int8: {figures.accuracy_top1_selection:.2%} of the selection "
        f"images instead of {figures.accuracy_top1_selection_float:.2%}, "
        f"{ms:.4g} ms instead of {figures.p50_ms_float:.4g} ms"
        f"{'' if ms < figures.p50_ms_float else ': int8 does not pay here'}"
        for entry in bundles
        if (figures := entry.quantization) and figures.p50_ms_float
        for ms in [entry.latency[device].p50_ms]
    ]
