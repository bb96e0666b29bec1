"""Stage ``specialize``: from the picks of a device to the bundles that ship."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ofa_pipeline.arch import Arch
from ofa_pipeline.artifacts import (
    Layout,
    Manifest,
    digest_file,
    digest_input,
    digest_json,
    write_artifact,
    write_json,
)
from ofa_pipeline.cost import arch_cost
from ofa_pipeline.data import Dataset, open_dataset
from ofa_pipeline.devices import Device
from ofa_pipeline.documents import BundleIndex, Card, Picks, SubnetDescription, read_document
from ofa_pipeline.errors import ManifestMismatchError
from ofa_pipeline.evaluation import (
    LargestSubnet,
    ResizedImages,
    Shipped,
    calibration_indices,
    evaluator_of,
    watch_shipped,
)
from ofa_pipeline.latency import load_latency_profile
from ofa_pipeline.params import Params
from ofa_pipeline.run_warnings import RunWarning, keep_warnings
from ofa_pipeline.specialize import (
    PREDICTIONS_FILE,
    Certifier,
    bundle_digest,
    shipped_file,
    trace_lineage,
    write_bundle,
)
from ofa_pipeline.specialize.build import BuiltSubnet, SubnetBuilder
from ofa_pipeline.specialize.choice import Choice, candidates_of, choose
from ofa_pipeline.specialize.tuning import Tuner, TuningPlan, tuning_rounds
from ofa_pipeline.stages import StageContext, find_stage, read_paths, stage_inputs
from ofa_pipeline.stages.train_supernet import recipe_of
from ofa_pipeline.stopwatch import FILE_NAME, Stopwatch
from ofa_pipeline.supernet import Supernet, load_supernet
from ofa_pipeline.tables import PREDICTIONS_SCHEMA, write_table
from ofa_pipeline.training import (
    Checkpoints,
    Hooks,
    TrainingImages,
    derive_seed,
    deterministic,
)

NAME = "specialize"
_PART = 4
_RATE = 0.75
"""Fine-tuning by the rule: a fourth of the supernet's epochs, at three quarters of the learning
rate of the first phase (docs/recipes.md)."""


def run(context: StageContext) -> None:
    """Build, certify and bundle the picks of one device."""
    device = context.item or ""
    layout = context.layout
    inputs = stage_inputs(find_stage(NAME), context)
    remake = f"ofa-pipeline stage search --item {device}"
    picks = read_document(layout.search(device) / Layout.PICKS, Picks, remake=remake)
    dataset = open_dataset(layout.dataset)
    supernet = load_supernet(layout.supernet_weights(context.params.final_phase))
    _check_supernet(supernet, dataset, context)
    digests = [digest_input(path) for path in inputs["inputs"]]
    scratch = layout.scratch(NAME, digest_json([device, inputs["params"], digests]))
    workshop = _Workshop(context, supernet, dataset, scratch)
    choices = choose(
        candidates_of(picks),
        meets=lambda arch, budget_ms: workshop.certifier(arch).meets(budget_ms),
        describe=lambda arch: f"{workshop.certifier(arch).certificate.measurement.p50_ms:.4g} ms",
    )
    with write_artifact(layout.subnets(device), **inputs) as writer:
        bundles = [
            workshop.write(arch, choices, writer.folder)
            for arch in dict.fromkeys(choice.arch for choice in choices)
        ]
        index = {"device": device, "bundles": bundles, "picks": [_pick(item) for item in choices]}
        write_json(writer.folder / Layout.BUNDLES, BundleIndex.from_dict(index).to_dict())
        _write_predictions(writer.folder, [workshop.built(c.arch) for c in choices], dataset)
        writer.summary |= _summary(bundles)
        keep_warnings(_warnings(context, bundles, dataset), writer, context.reporter)
    shutil.rmtree(scratch, ignore_errors=True)


class _Workshop:
    """Builds, measures and bundles the subnets of one device, each once."""

    def __init__(
        self, context: StageContext, supernet: Supernet, dataset: Dataset, scratch: Path
    ) -> None:
        self._context = context
        self._name = context.item or ""
        self._dataset = dataset
        self._space = supernet.space
        self._settings = context.params.device(self._name).card
        made_by = f"ofa-pipeline stage train_supernet --item {context.params.final_phase}"
        self._trained = Manifest.read(
            context.layout.supernet(context.params.final_phase), made_by=made_by
        )
        self._device = self._open_device()
        self._builder = self._build_builder(supernet, scratch)
        self._built: dict[Arch, BuiltSubnet] = {}
        self._certifiers: dict[Arch, Certifier] = {}

    def _open_device(self) -> Device:
        context = self._context
        profile = load_latency_profile(context.layout.latency(self._name))
        return profile.open_device(
            self._settings,
            self._space,
            warmup_runs=context.params.latency.warmup_runs,
            timed_runs=context.params.latency.timed_runs,
        )

    def _build_builder(self, supernet: Supernet, scratch: Path) -> SubnetBuilder:
        params, dataset = self._context.params, self._dataset
        plan = tuning_plan(params, dataset, self._trained.summary)
        evaluator = evaluator_of(
            supernet,
            dataset,
            calibration_images=params.evaluation.calibration_images,
            batch_size=params.evaluation.batch_size,
        )
        return SubnetBuilder(
            Tuner(evaluator, plan=plan),
            ResizedImages(
                split=dataset.split("test"),
                normalization=dataset.normalization,
                batch_size=params.evaluation.batch_size,
            ),
            device=self._device,
            scratch=scratch,
            hooks=lambda arch: self._hooks(scratch / "finetune" / arch.arch_id),
        )

    def _hooks(self, folder: Path) -> Hooks:
        """Return what surrounds a fine-tuning whose checkpoints lie in a folder."""
        reporter = self._context.reporter
        minutes = self._context.params.training.checkpoint_minutes
        return Hooks(
            checkpoints=Checkpoints(folder, interval_s=60 * minutes),
            reporter=reporter,
            stopwatch=Stopwatch(folder / FILE_NAME, reporter=reporter),
        )

    def built(self, arch: Arch) -> BuiltSubnet:
        """Return a subnet with its files."""
        if arch not in self._built:
            self._space.check(arch)
            with deterministic(threads=self._context.params.training.threads):
                self._built[arch] = self._builder.build(arch)
            self._context.stopwatch.note()
        return self._built[arch]

    def certifier(self, arch: Arch) -> Certifier:
        """Return what measures the file of a subnet that the device runs."""
        if arch not in self._certifiers:
            path = self.built(arch).folder / shipped_file(self._settings.runtime)
            self._certifiers[arch] = Certifier(
                lambda: self._device.measure(path, resolution_px=arch.resolution_px)
            )
        return self._certifiers[arch]

    def write(self, arch: Arch, choices: Sequence[Choice], folder: Path) -> dict[str, Any]:
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
        digest = bundle_digest(folder / arch.arch_id)
        keys = (
            *("arch_id", "budgets_ms", "accuracy", "latency", "cost", "finetuning"),
            *("parity", "lineage"),
        )
        return {
            "name": arch.arch_id,
            "bundle_digest": digest,
            "arch": arch.to_dict(),
            "space_id": self._space.space_id,
            "num_classes": self._dataset.num_classes,
            **{key: card[key] for key in keys},
        }

    def _subnet(self, arch: Arch) -> dict[str, Any]:
        dataset = self._dataset
        reading = {"value_range": list(dataset.value_range)} if dataset.value_range else {}
        calibration = calibration_indices(
            dataset.num_images["calibration"],
            self._context.params.evaluation.calibration_images,
            draw=0,
        )
        return {
            "arch": arch.to_dict(),
            "arch_id": arch.arch_id,
            "space": self._space.to_dict(),
            "num_classes": dataset.num_classes,
            "class_names": list(dataset.class_names),
            "mean": list(dataset.normalization.mean),
            "std": list(dataset.normalization.std),
            "image_size_px": dataset.image_size_px,
            **reading,
            "calibration": {"split": "calibration", "images": calibration},
            "runs": {
                "runtime": self._settings.runtime,
                "file": shipped_file(self._settings.runtime),
                "accelerator": self._settings.accelerator,
                "threads": self._settings.threads,
            },
        }

    def _card(self, built: BuiltSubnet, budgets: Sequence[float]) -> dict[str, Any]:
        certificate = self.certifier(built.arch).certificate
        shipped = shipped_file(self._settings.runtime)
        cost = arch_cost(self._space, built.arch, num_classes=self._dataset.num_classes)
        finetuned = built.tuning["accuracy_top1_finetuned"]
        extracted = built.tuning["accuracy_top1_extracted"]
        layout, params = self._context.layout, self._context.params
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
                self._name: {
                    **certificate.measurement.to_dict(),
                    "attempts_p50_ms": list(certificate.attempts_p50_ms),
                    "card": self._device.card.to_dict(),
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
            "lineage": trace_lineage(layout.root, read_paths(find_stage(NAME), self._name, params)),
        }

    def _finetuning(self, built: BuiltSubnet) -> dict[str, Any]:
        """Return what the fine-tuning took, and what its teacher costs; it may not be kept."""
        teacher = arch_cost(self._space, self._space.largest, num_classes=self._dataset.num_classes)
        return {
            **built.finetuning_seconds,
            "epochs": built.tuning["num_epochs"],
            "teacher_macs": teacher.macs,
        }


def tuning_plan(params: Params, dataset: Dataset, trained: Mapping[str, Any]) -> TuningPlan:
    """Return how picks are fine-tuned.

    Args:
        params: Where epochs or rate are ``auto``, they follow from the supernet's training.
        dataset: With the images.
        trained: Summary of the final supernet's manifest.

    Raises:
        ManifestMismatchError: If the summary lacks what ``auto`` needs.
    """
    special, known = params.specialize, {"total_epochs", "first_learning_rate"} <= trained.keys()
    if "auto" in (special.epochs, special.learning_rate) and not known:
        raise ManifestMismatchError(
            "specialize.epochs and specialize.learning_rate: auto need the epochs and the learning "
            f"rate of the supernet's training, which its manifest lacks. Train phase "
            f"{params.final_phase} again: ofa-pipeline run; or give numbers."
        )
    epochs, rate = special.epochs, special.learning_rate
    return TuningPlan(
        images=TrainingImages(split=dataset.split("train"), normalization=dataset.normalization),
        recipe=replace(recipe_of(params.training), seed=derive_seed(special.seed, "specialize")),
        rounds=tuning_rounds(
            -(-trained["total_epochs"] // _PART) if epochs == "auto" else epochs,
            _RATE * trained["first_learning_rate"] if rate == "auto" else rate,
        ),
    )


def _check_supernet(supernet: Supernet, dataset: Dataset, context: StageContext) -> None:
    space = context.params.space.build()
    if supernet.space != space or supernet.num_classes != dataset.num_classes:
        phase = context.params.final_phase
        raise ManifestMismatchError(
            f"{context.layout.supernet_weights(phase)} must hold a supernet of the space in "
            f"params.yaml and of {dataset.num_classes} classes; it is of another space or of "
            f"{supernet.num_classes} classes. Train it again: ofa-pipeline run"
        )


def _pick(choice: Choice) -> dict[str, Any]:
    return {
        "budget_ms": choice.budget_ms,
        "bundle": choice.arch.arch_id,
        "rank": choice.rank,
    }


def _write_predictions(folder: Path, built: Sequence[BuiltSubnet], dataset: Dataset) -> None:
    unique = list({subnet.arch: subnet for subnet in built}.values())
    labels = dataset.split("test").labels.tolist()
    count = len(labels)
    write_table(
        folder / PREDICTIONS_FILE,
        PREDICTIONS_SCHEMA,
        {
            "arch_id": [subnet.arch.arch_id for subnet in unique for _ in range(count)],
            "image": [image for _ in unique for image in range(count)],
            "label": labels * len(unique),
            "predicted": [int(value) for subnet in unique for value in subnet.predicted],
        },
    )


def _warnings(
    context: StageContext, bundles: Sequence[Mapping[str, Any]], dataset: Dataset
) -> tuple[RunWarning, ...]:
    params = context.params
    shipped = Shipped(
        device=context.item or "",
        accuracy_top1={
            item["arch_id"]: item["accuracy"]["accuracy_top1_selection"] for item in bundles
        },
        labels=dataset.split("selection").labels.tolist(),
    )
    folder = context.layout.supernet(params.final_phase)
    manifest = Manifest.read(folder, made_by="ofa-pipeline run")
    largest = LargestSubnet.from_summary(manifest.summary)
    return watch_shipped(shipped, largest=largest, phases=list(params.phases))


def _summary(bundles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "num_bundles": len(bundles),
        "accuracy_top1_best": max(item["accuracy"]["accuracy_top1"] for item in bundles),
        "num_finetuned": sum(item["accuracy"]["is_finetuned"] for item in bundles),
    }
