"""From the bundles of a device to the entries of the registry."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.documents import BundleEntry, BundleIndex, LatencyFigures, read_document
from ofa_pipeline.errors import shorten
from ofa_pipeline.params import Params
from ofa_pipeline.registry.protocol import Entry, RunNotes
from ofa_pipeline.registry.record import SubnetRecord, registered_model_name
from ofa_pipeline.run_warnings import RunWarning

TAG_LENGTH = 4900
"""Characters that every version of MLflow takes in a tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNames:
    """What the names of registered models begin with."""

    prefix: str
    dataset: str

    @classmethod
    def of(cls, params: Params) -> "ModelNames":
        """Return what params.yaml says."""
        return cls(prefix=params.registry.model_prefix, dataset=params.dataset.label)

    def name(self, *, space_id: str, device: str) -> str:
        """Return the name of the registered model of a space and a device."""
        return registered_model_name(
            self.prefix, dataset=self.dataset, space_id=space_id, device=device
        )


def read_entries(folder: Path, *, names: ModelNames) -> tuple[Entry, ...]:
    """Return what to register from the artifact of the stage specialize.

    Args:
        folder: With the bundles and their index.
        names: Names of registered models.

    Raises:
        MissingArtifactError: If the index is not there.
        ManifestMismatchError: If it is not as the stage writes it.
    """
    remake = f"ofa-pipeline stage specialize --item {folder.name}"
    index = read_document(folder / Layout.BUNDLES, BundleIndex, remake=remake)
    return tuple(
        Entry(
            record=_record(item, folder / item.name, device=index.device, names=names),
            bundle_folder=folder / item.name,
        )
        for item in index.bundles
    )


def _record(item: BundleEntry, bundle: Path, *, device: str, names: ModelNames) -> SubnetRecord:
    accuracy = item.accuracy
    runs = bundle / accuracy.evaluated_file
    return SubnetRecord(
        model_name=names.name(space_id=item.space_id, device=device),
        device=device,
        space_id=item.space_id,
        arch=item.arch,
        num_classes=item.num_classes,
        budgets_ms=item.budgets_ms,
        accuracy_top1=accuracy.accuracy_top1,
        accuracy_top5=accuracy.accuracy_top5,
        num_test_images=accuracy.num_test_images,
        accuracy_top1_selection=accuracy.accuracy_top1_selection,
        latency={
            name: LatencyFigures.from_dict(figures.to_dict())
            for name, figures in item.latency.items()
        },
        macs=item.cost.macs,
        num_params=item.cost.num_params,
        parity_max_abs_difference=item.parity.max_abs_difference,
        parity_top1_agreement=item.parity.top1_agreement,
        bundle_digest=item.bundle_digest,
        lineage=item.lineage,
        dataset=names.dataset,
        num_bytes=runs.stat().st_size if runs.exists() else None,
    )


def run_notes(
    device: str,
    manifest: Manifest,
    entries: tuple[Entry, ...],
    *,
    warnings: Sequence[RunWarning],
) -> RunNotes:
    """Return what the run of a registration notes.

    Args:
        device: Whose subnets are registered.
        manifest: Manifest of their artifact.
        entries: What is registered; at least one.
        warnings: Warnings of their artifact.
    """
    texts = "\n".join(warning.text for warning in warnings)
    noted = {"ofa.warnings": shorten(texts, TAG_LENGTH)} if texts else {}
    records = [entry.record for entry in entries]
    return RunNotes(
        name=f"register {device}",
        params=dict(_flat(manifest.params)),
        metrics={
            "num_subnets": float(len(records)),
            "accuracy_top1_best": max(record.accuracy_top1 for record in records),
            "latency_ms_fastest": min(record.latency_ms for record in records),
        },
        tags={"ofa.device": device, "ofa.subnets_digest": manifest.digest, **noted},
    )


def _flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return dotted names with short values, as MLflow keeps params."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{name}.")
        else:
            flat[name] = value if isinstance(value, str) else json.dumps(value)
    return flat
