"""Reads what a report says of data, training and predictor from their artifacts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from safetensors import SafetensorError, safe_open

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.dataset_summary import DatasetSummary
from ofa_pipeline.documents import ClassNames, PredictorReport, read_document
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.params import scaled_rate
from ofa_pipeline.report.contents import (
    ArtifactFacts,
    DatasetFacts,
    EpochFacts,
    LearningPoint,
    PhaseFacts,
    PredictorFacts,
)
from ofa_pipeline.report.source import Source
from ofa_pipeline.tables import CROSS_VALIDATION_SCHEMA, HISTORY_SCHEMA, read_table

SPLITS = ("train", "calibration", "selection", "test")
_ELASTIC = ("depths", "kernel_sizes", "expand_ratios", "width_multipliers")


def load_dataset(source: Source) -> DatasetFacts:
    """Read the facts of the prepared dataset."""
    manifest = source.manifest()
    classes = read_document(source.path(Layout.CLASSES), ClassNames, remake=source.made_by)
    summary = manifest.summary
    found = read_document(
        source.path(Layout.DATASET_SUMMARY), DatasetSummary, remake=source.made_by
    )
    with source.explained(Layout.MANIFEST):
        return DatasetFacts(
            source=manifest.params["dataset"]["source"],
            class_names=classes.class_names,
            num_images={name: summary["num_images"][name] for name in SPLITS},
            num_unreadable=summary["num_unreadable"],
            summary=found,
            digest=manifest.digest,
            file=source.name(Layout.MANIFEST),
        )


def load_phase(source: Source, *, name: str) -> PhaseFacts:
    """Read the facts of one phase of training."""
    manifest = source.manifest()
    rows = read_table(source.path(Layout.HISTORY), HISTORY_SCHEMA).to_pylist()
    with source.explained(Layout.MANIFEST):
        params = manifest.params[f"phases.{name}"]
        return PhaseFacts(
            name=name,
            elastic={key: params[key] for key in _ELASTIC if params.get(key)},
            learning_rate=_learning_rate(params, manifest.params["training"]),
            subnets_per_step=params["subnets_per_step"],
            epochs=tuple(
                EpochFacts(
                    epoch=row["epoch"],
                    train_loss=row["loss"],
                    accuracy_smallest=row["accuracy_top1_smallest"],
                    accuracy_largest=row["accuracy_top1_largest"],
                )
                for row in rows
            ),
            digest=manifest.digest,
            file=source.name(Layout.HISTORY),
            initial_weights=_initial_weights(manifest, starts_from=params.get("start_from")),
        )


def _learning_rate(phase: Mapping[str, Any], training: Mapping[str, Any]) -> float:
    """Return the rate that was trained with: that of the phase, for the batch of the training."""
    return scaled_rate(
        phase["learning_rate"],
        batch_size=training["batch_size"],
        base_batch_size=training.get("base_batch_size"),
    )


def _initial_weights(manifest: Manifest, *, starts_from: str | None) -> str | None:
    named = manifest.params.get("training", {}).get("initial_weights")
    if starts_from != "initial" or not named:
        return None
    return ", ".join(f"{kind}: {name}" for kind, name in named.items())


def load_first_phase_top1(source: Source) -> float | None:
    """Read how good the largest subnet was after the first phase, from the last phase.

    None where an earlier version trained it. On all selection images, a fraction.
    """
    found = source.manifest().summary.get("largest_subnet")
    if found is None:
        return None
    with source.explained(Layout.MANIFEST):
        return float(found["accuracy_top1_first_phase"])


def load_space(source: Source) -> SearchSpace:
    """Read the search space from the header of a supernet's weights.

    Raises:
        MissingArtifactError: If the file is not there.
        ManifestMismatchError: If it is not a supernet.
    """
    path = source.path(Layout.SUPERNET)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError as error:
        raise MissingArtifactError(
            f"{path} is missing. Produce it with: {source.made_by}"
        ) from error
    except SafetensorError as error:
        raise ManifestMismatchError(
            f"{path} is not a safetensors file ({error}). Produce it again with: {source.made_by}"
        ) from error
    with source.explained(path.name):
        description = json.loads(metadata["description"])
        return SearchSpace.from_dict(json.loads(description["space"]))


def load_predictor(source: Source) -> PredictorFacts:
    """Read the cross-validated report of the accuracy predictor."""
    report = read_document(
        source.path(Layout.PREDICTOR_REPORT), PredictorReport, remake=source.made_by
    )
    table = read_table(source.path(Layout.CROSS_VALIDATION), CROSS_VALIDATION_SCHEMA)
    with source.explained(Layout.PREDICTOR_REPORT):
        regret_points = report.regret_points["5"]
    return PredictorFacts(
        kind=report.kind,
        measured=tuple(table["accuracy_top1"].to_pylist()),
        predicted=tuple(table["accuracy_top1_estimated"].to_pylist()),
        predicted_std=tuple(table["accuracy_std_estimated"].to_pylist()),
        arch_ids=tuple(table["arch_id"].to_pylist()),
        rmse=report.rmse_points / 100,
        kendall_tau=report.tau,
        kendall_tau_top_decile=report.tau_top_decile,
        coverage=report.coverage,
        regret=regret_points / 100,
        noise_std=report.label_noise_points / 100,
        learning_curve=tuple(
            LearningPoint(
                num_samples=point.num_samples,
                rmse=point.rmse_points / 100,
                kendall_tau=point.tau,
            )
            for point in report.learning_curve
        ),
        files=(source.name(Layout.CROSS_VALIDATION), source.name(Layout.PREDICTOR_REPORT)),
    )


def load_lineage(sources: Sequence[Source]) -> tuple[ArtifactFacts, ...]:
    """Read what each artifact was made from."""
    facts = []
    for source in sources:
        manifest = source.manifest()
        facts.append(
            ArtifactFacts(
                path=source.name(), digest=manifest.digest, made_from=tuple(manifest.inputs)
            )
        )
    return tuple(facts)
