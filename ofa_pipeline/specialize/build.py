"""Builds subnets: weights, exported file, parity, accuracy on test; each once, even when killed."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import ConfigDict

from ofa_pipeline.arch import Arch, IntArray
from ofa_pipeline.artifacts import Layout, digest_file, digest_json, write_json
from ofa_pipeline.devices import CODE_FOLDER, FP32_TOLERANCE, Device, QuantizedFiles, export_onnx
from ofa_pipeline.documents import (
    Document,
    ParityFigures,
    Part,
    QuantizationFigures,
    SpentSeconds,
    read_document,
)
from ofa_pipeline.errors import ExportError, ManifestMismatchError, MissingArtifactError
from ofa_pipeline.evaluation import ResizedImages
from ofa_pipeline.progress import Reporter
from ofa_pipeline.specialize.bundle import ONNX_FILE
from ofa_pipeline.specialize.fine_tuning import TunedPick, TuningTask
from ofa_pipeline.specialize.parity import (
    TwoAnswers,
    answer_twice,
    require_parity,
    top_k_accuracy,
)
from ofa_pipeline.specialize.tuning import Tuner, TuningFigures
from ofa_pipeline.stopwatch import Seconds
from ofa_pipeline.supernet import Subnet, fold_batch_norm, save_subnet

FACTS_FILE = "facts.json"
PREDICTED_FILE = "predicted.npy"
SEAL_FILE = "seal.json"
_REMAKE = "ofa-pipeline run"


class TestAccuracy(Part):
    """Accuracy of what ships, on test images."""

    accuracy_top1: float
    accuracy_top5: float
    num_images: int


class BuiltFacts(Document):
    """What the scratch folder of a subnet keeps of how it was built."""

    model_config = ConfigDict(title="how a subnet was built")

    test: TestAccuracy
    tuning: TuningFigures
    finetuning_seconds: SpentSeconds = SpentSeconds.from_dict(Seconds(is_complete=False).to_dict())
    """Seconds of the training alone; earlier versions noted none."""
    parity: ParityFigures
    quantization: QuantizationFigures | None = None
    """Of a device that computes in int8."""


class Seal(Document):
    """The files of a finished folder, to see whether it still is as it was."""

    model_config = ConfigDict(title="the seal of a folder")

    files: dict[str, str]
    """SHA-256 by name."""
    digest: str
    """Digest of the files."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BuiltSubnet:
    """A subnet that is ready to be measured and bundled."""

    arch: Arch
    folder: Path
    """With weights, ONNX file, and the file that the device runs."""
    facts: BuiltFacts
    predicted: IntArray
    """Class of each test image, shape (N,)."""


class SubnetBuilder:
    """Builds subnets of one supernet for one device."""

    def __init__(
        self,
        tuner: Tuner,
        test: ResizedImages,
        *,
        tune: Callable[[TuningTask], TunedPick],
        device: Device,
        scratch: Path,
        reporter: Reporter,
    ) -> None:
        """Build nothing yet.

        Args:
            tuner: With the evaluator of the supernet.
            test: Test images; they decide nothing.
            tune: Makes the weights of subnets that `take` was not given.
            device: The device: the file that it runs is evaluated, as it runs it.
            scratch: Where finished subnets are kept; named after everything they depend on.
            reporter: Told of what an earlier run left damaged.
        """
        self._tuner = tuner
        self._test = test
        self._device = device
        self._scratch = scratch
        self._tune = tune
        self._taken: dict[Arch, TunedPick] = {}
        self._reporter = reporter

    def is_built(self, arch: Arch) -> bool:
        """Return whether an earlier, interrupted run has built a subnet."""
        folder = self._scratch / arch.arch_id
        return _is_whole(folder) and self._is_of_this_rule(folder)

    def take(self, arch: Arch, pick: TunedPick) -> None:
        """Take the weights of a subnet that will be built next, as `tune` would make them."""
        self._taken[arch] = pick

    def build(self, arch: Arch) -> BuiltSubnet:
        """Build a subnet, or return it as an earlier, interrupted run built it.

        Raises:
            ExportError: If the exported file answers otherwise than the network, or a quantised
                one loses more than it may.
        """
        folder = self._scratch / arch.arch_id
        if folder.exists() and not _is_whole(folder):
            aside = self._scratch / f"{arch.arch_id}.bad"
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            self._reporter.message(
                f"what an earlier run built of subnet {arch.arch_id} is damaged: it is built "
                f"again (as it was: {aside})"
            )
        elif folder.exists() and not self._is_of_this_rule(folder):
            shutil.rmtree(folder)
            self._reporter.message(
                f"what an earlier version built of subnet {arch.arch_id} was fine-tuned for other "
                "epochs: it is built again"
            )
        if not folder.exists():
            writing = self._scratch / f".{arch.arch_id}.writing"
            shutil.rmtree(writing, ignore_errors=True)
            writing.mkdir(parents=True)
            self._build(arch, writing)
            _seal(writing)
            writing.rename(folder)
        return BuiltSubnet(
            arch=arch,
            folder=folder,
            facts=read_document(folder / FACTS_FILE, BuiltFacts, remake=_REMAKE),
            predicted=np.load(folder / PREDICTED_FILE),
        )

    @property
    def has_teacher(self) -> bool:
        """Whether subnets learn from the largest one, too."""
        return self._tuner.has_teacher

    def _is_of_this_rule(self, folder: Path) -> bool:
        """Return whether what was built was fine-tuned as it would be now."""
        facts = read_document(folder / FACTS_FILE, BuiltFacts, remake=_REMAKE)
        return self._tuner.may_take(facts.tuning)

    def _build(self, arch: Arch, folder: Path) -> None:
        pick = self._taken.pop(arch, None) or self._tune(TuningTask(arch=arch))
        tuned = pick.tuned
        subnet: Subnet = tuned.subnet
        save_subnet(subnet, folder / Layout.WEIGHTS)
        export_onnx(subnet, folder / ONNX_FILE, resolution_px=arch.resolution_px)
        shipped = self._write_shipped(subnet, folder)
        quantization = self._quantization(arch, shipped, tuned.figures)
        network = fold_batch_norm(subnet).eval().to(memory_format=torch.channels_last)
        answers = answer_twice(network, folder / ONNX_FILE, self._test.batches(arch.resolution_px))
        parity = answers.parity()
        require_parity(parity, FP32_TOLERANCE, what=f"the ONNX file of subnet {arch.arch_id}")
        logits = self._device.predict(
            shipped,
            (images.cpu().numpy() for images, _ in self._test.batches(arch.resolution_px)),
            resolution_px=arch.resolution_px,
        )
        as_shipped = TwoAnswers(network=answers.network, exported=logits, labels=answers.labels)
        if quantization is None:  # of rounded values, only the accuracy counts
            require_parity(
                as_shipped.parity(),
                self._device.runtime.tolerance,
                what=f"{shipped.name} of subnet {arch.arch_id}",
            )
        np.save(folder / PREDICTED_FILE, logits.argmax(axis=1).astype(np.int64))
        test = TestAccuracy(
            accuracy_top1=top_k_accuracy(logits, answers.labels, k=1),
            accuracy_top5=top_k_accuracy(logits, answers.labels, k=5),
            num_images=len(answers.labels),
        )
        facts = BuiltFacts(
            test=test,
            tuning=tuned.figures,
            finetuning_seconds=SpentSeconds.from_dict(pick.seconds.to_dict()),
            parity=parity,
            quantization=quantization,
        )
        write_json(folder / FACTS_FILE, facts.to_dict())

    def _write_shipped(self, subnet: Subnet, folder: Path) -> Path:
        """Write what the device runs, where it is not the ONNX file; return its file."""
        runtime = self._device.runtime
        shipped = folder / runtime.file_name
        if runtime.card.precision == "int8":
            QuantizedFiles(self._device, self._tuner.evaluator).write(subnet, shipped)
        elif shipped.name != ONNX_FILE:
            runtime.write(subnet, shipped, resolution_px=subnet.arch.resolution_px)
        for name in runtime.network.code_names:
            shutil.copyfile(CODE_FOLDER / name, folder / name)
        return shipped

    def _quantization(
        self, arch: Arch, shipped: Path, tuning: TuningFigures
    ) -> QuantizationFigures | None:
        """Return what int8 costs; None of a device that computes in float32.

        Raises:
            ExportError: If it costs more than it may.
        """
        if self._device.runtime.card.precision != "int8":
            return None
        evaluator, most = self._tuner.evaluator, self._tuner.max_quantization_loss
        files = QuantizedFiles(self._device, evaluator)
        figures = QuantizationFigures(
            accuracy_top1_selection_float=tuning.accuracy_top1,
            accuracy_top1_selection=files.accuracy_top1(shipped, resolution_px=arch.resolution_px),
            num_selection_images=evaluator.evaluation.num_images,
            num_calibration_images=evaluator.num_calibration_images,
        )
        if figures.loss_points > most:
            raise ExportError(
                f"{shipped.name} of subnet {arch.arch_id} may lose {most:g} points of top-1 to "
                f"int8 (specialize.max_quantization_loss), found {figures.loss_points:.2f}: "
                f"{figures.accuracy_top1_selection_float:.2%} as float32, "
                f"{figures.accuracy_top1_selection:.2%} as int8, on "
                f"{figures.num_selection_images} selection images. Raise it, or "
                "evaluation.calibration_images, or give the device the precision fp32."
            )
        return figures


def _seal(folder: Path) -> None:
    """Note the digest of each file of a finished folder, and of the notes."""
    files = {path.name: digest_file(path) for path in sorted(folder.iterdir())}
    seal = Seal(files=files, digest=digest_json(files))
    write_json(folder / SEAL_FILE, seal.to_dict())


def _is_whole(folder: Path) -> bool:
    """Return whether a finished folder is as it was sealed."""
    try:
        seal = read_document(folder / SEAL_FILE, Seal, remake=_REMAKE)
        return seal.digest == digest_json(seal.files) and all(
            digest_file(folder / name) == digest for name, digest in seal.files.items()
        )
    except (ManifestMismatchError, MissingArtifactError, OSError, ValueError):
        return False
