"""From the architectures that were chosen to the bundles that ship."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import digest_file
from ofa_pipeline.cost import arch_cost
from ofa_pipeline.data import Dataset
from ofa_pipeline.devices import Device, DeviceSettings
from ofa_pipeline.documents import Card, SubnetDescription
from ofa_pipeline.evaluation import calibration_indices
from ofa_pipeline.specialize.build import BuiltSubnet, SubnetBuilder
from ofa_pipeline.specialize.bundle import bundle_digest, shipped_file, write_bundle
from ofa_pipeline.specialize.certificate import Certifier
from ofa_pipeline.specialize.choice import Choice
from ofa_pipeline.stopwatch import Stopwatch
from ofa_pipeline.training import deterministic

_INDEXED = (
    *("arch_id", "budgets_ms", "accuracy", "latency"),
    *("cost", "finetuning", "parity", "lineage"),
)
"""What the index repeats of the card of a bundle."""


@dataclass(kw_only=True)
class Workshop:
    """Builds, measures and bundles the subnets of one device, each once."""

    name: str
    """Of the device."""
    settings: DeviceSettings
    device: Device
    space: SearchSpace
    dataset: Dataset
    builder: SubnetBuilder
    threads: int
    """That subnets are built with; they are measured with those of the device."""
    calibration_images: int
    """At most all of the calibration split."""
    lineage: Mapping[str, str]
    """What the bundles are made from: digests by path."""
    stopwatch: Stopwatch
    """Notes the seconds after each subnet that is built."""
    _built: dict[Arch, BuiltSubnet] = field(default_factory=dict)
    _certifiers: dict[Arch, Certifier] = field(default_factory=dict)

    def built(self, arch: Arch) -> BuiltSubnet:
        """Return a subnet with its files."""
        if arch not in self._built:
            self.space.check(arch)
            with deterministic(threads=self.threads):
                self._built[arch] = self.builder.build(arch)
            self.stopwatch.note()
        return self._built[arch]

    def certifier(self, arch: Arch) -> Certifier:
        """Return what measures the file of a subnet that the device runs."""
        if arch not in self._certifiers:
            path = self.built(arch).folder / self.shipped
            self._certifiers[arch] = Certifier(
                lambda: self.device.measure(path, resolution_px=arch.resolution_px)
            )
        return self._certifiers[arch]

    @property
    def shipped(self) -> str:
        """Name of the file that the device runs."""
        return shipped_file(self.settings.runtime)

    def meets(self, arch: Arch, budget_ms: float) -> bool:
        """Return whether a subnet meets a budget as it ships."""
        return self.certifier(arch).meets(budget_ms)

    def describe(self, arch: Arch) -> str:
        """Return the latency of a subnet as it ships, for messages."""
        return f"{self.certifier(arch).certificate.measurement.p50_ms:.4g} ms"

    def write(self, choices: Sequence[Choice], folder: Path) -> dict[str, Any]:
        """Write the bundle of each subnet that was chosen, and return their index."""
        archs = dict.fromkeys(choice.arch for choice in choices)
        return {
            "device": self.name,
            "bundles": [self._write(arch, choices, folder) for arch in archs],
            "picks": [
                {"budget_ms": c.budget_ms, "bundle": c.arch.arch_id, "rank": c.rank}
                for c in choices
            ],
        }

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

    def _write(self, arch: Arch, choices: Sequence[Choice], folder: Path) -> dict[str, Any]:
        """Write a bundle and return its entry in the index."""
        built = self.built(arch)
        budgets = sorted(choice.budget_ms for choice in choices if choice.arch == arch)
        card = self._card(built, budgets)
        write_bundle(
            folder / arch.arch_id,
            files_from=built.folder,
            subnet=SubnetDescription.from_dict(self._subnet(arch)),
            card=Card.from_dict(card),
        )
        return {
            "name": arch.arch_id,
            "bundle_digest": bundle_digest(folder / arch.arch_id),
            "arch": arch.to_dict(),
            "space_id": self.space.space_id,
            "num_classes": self.dataset.num_classes,
            **{key: card[key] for key in _INDEXED},
        }

    def _subnet(self, arch: Arch) -> dict[str, Any]:
        dataset = self.dataset
        reading = {"value_range": list(dataset.value_range)} if dataset.value_range else {}
        calibration = calibration_indices(
            dataset.num_images["calibration"],
            self.calibration_images,
            draw=0,
        )
        return {
            "arch": arch.to_dict(),
            "arch_id": arch.arch_id,
            "space": self.space.to_dict(),
            "num_classes": dataset.num_classes,
            "class_names": list(dataset.class_names),
            "mean": list(dataset.normalization.mean),
            "std": list(dataset.normalization.std),
            "image_size_px": dataset.image_size_px,
            **reading,
            "calibration": {"split": "calibration", "images": calibration},
            "runs": {
                "runtime": self.settings.runtime,
                "file": self.shipped,
                "accelerator": self.settings.accelerator,
                "threads": self.settings.threads,
            },
        }

    def _card(self, built: BuiltSubnet, budgets: Sequence[float]) -> dict[str, Any]:
        certificate = self.certifier(built.arch).certificate
        shipped = self.shipped
        cost = arch_cost(self.space, built.arch, num_classes=self.dataset.num_classes)
        finetuned = built.tuning["accuracy_top1_finetuned"]
        extracted = built.tuning["accuracy_top1_extracted"]
        return {
            "arch_id": built.arch.arch_id,
            "budgets_ms": list(budgets),
            "accuracy": {
                "accuracy_top1": built.test.accuracy_top1,
                "accuracy_top5": built.test.accuracy_top5,
                "num_test_images": built.test.num_images,
                "accuracy_top1_selection": finetuned if built.tuning["is_finetuned"] else extracted,
                "accuracy_top1_selection_extracted": extracted,
                "accuracy_top1_selection_finetuned": finetuned,
                "num_selection_images": built.tuning["num_images"],
                "is_finetuned": built.tuning["is_finetuned"],
                "evaluated_file": shipped,
            },
            "latency": {
                self.name: {
                    **certificate.measurement.to_dict(),
                    "attempts_p50_ms": list(certificate.attempts_p50_ms),
                    "card": self.device.card.to_dict(),
                    "file": shipped,
                    "file_digest": digest_file(built.folder / shipped),
                    "verdicts": [
                        {"budget_ms": budget, "verdict": certificate.verdict(budget)}
                        for budget in budgets
                    ],
                }
            },
            "cost": {"macs": cost.macs, "num_params": cost.num_params},
            "finetuning": self._finetuning(built),
            "parity": built.parity,
            "lineage": dict(self.lineage),
        }

    def _finetuning(self, built: BuiltSubnet) -> dict[str, Any]:
        """Return what the fine-tuning took, and what its teacher costs; it may not be kept."""
        teacher = arch_cost(self.space, self.space.largest, num_classes=self.dataset.num_classes)
        return {
            **built.finetuning_seconds,
            "epochs": built.tuning["num_epochs"],
            "teacher_macs": teacher.macs,
        }
