"""Stage ``register``: every bundle of a device into the registry, once."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import (
    Layout,
    Manifest,
    verify_artifact,
    write_artifact,
    write_json,
)
from ofa_pipeline.documents import BundleEntry, BundleIndex, Receipt, Receipts, read_document
from ofa_pipeline.errors import shorten
from ofa_pipeline.params import Params
from ofa_pipeline.registry import (
    Entry,
    LatencyFigures,
    RegisteredSubnet,
    RunNotes,
    SubnetRecord,
    SubnetRegistry,
    open_registry,
    registered_model_name,
)
from ofa_pipeline.run_warnings import RunWarning, warnings_in
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs

NAME = "register"
TAG_LENGTH = 4900
"""Characters that every version of MLflow takes in a tag."""


def run(context: StageContext) -> None:
    """Register the bundles of one device and write the receipts."""
    registry = open_registry(context.layout.root, experiment=context.params.registry.experiment)
    register(context, registry)


def register(context: StageContext, registry: SubnetRegistry) -> tuple[RegisteredSubnet, ...]:
    """Register the bundles of one device in a registry and write the receipts.

    The receipts say what was registered under which name, not where: versions differ between
    servers, and the same bundles give the same receipts on each.

    Raises:
        RegistryError: If the registry cannot be reached or refuses.
        MissingArtifactError: If a bundle is not there.
        ManifestMismatchError: If a bundle is not as it was written.
    """
    layout, device = context.layout, context.item or ""
    folder = layout.subnets(device)
    manifest = verify_artifact(folder)
    entries = read_entries(folder, names=ModelNames.of(context.params))
    registry.check({entry.record.model_name for entry in entries})
    warnings = warnings_in(manifest, folder)
    notes = _notes(device, manifest, entries, warnings=warnings)
    registered = registry.register_all(entries, notes=notes)
    inputs = stage_inputs(find_stage(NAME), context)
    with write_artifact(layout.registry(device), **inputs) as writer:
        receipts = Receipts(device=device, receipts=tuple(_receipt(entry) for entry in entries))
        write_json(writer.folder / Layout.RECEIPTS, receipts.to_dict())
        writer.summary |= {"num_registered": len(entries), "dataset": context.params.dataset.label}
    return registered


def check_registry(layout: Layout, params: Params) -> str:
    """Check, before anything is trained, that the registry will take what comes.

    Returns:
        The URI of the registry.

    Raises:
        RegistryError: If it cannot be reached, or a model of one of our names is foreign.
    """
    registry = open_registry(layout.root, experiment=params.registry.experiment)
    space_id, names = params.space.build().space_id, ModelNames.of(params)
    registry.check(names.name(space_id=space_id, device=device) for device in params.devices)
    return registry.tracking_uri


def begin_registry(root: Path, params: Params) -> Callable[[], None]:
    """Begin to make the registry where it is a SQLite file that is not there, beside other work.

    Returns:
        What waits until that is done. It raises nothing: the stage meets what is wrong.
    """
    return open_registry(root, experiment=params.registry.experiment).prepare()


def missing_outside(layout: Layout, params: Params, item: str | None) -> tuple[str, ...]:
    """Return the bundles that the receipts of a device claim and the registry lacks.

    Another server, a deleted version, lost files, another name: then the stage has to run again
    although its inputs are the same. Without receipts nothing is claimed, and the result is empty.

    Args:
        layout: Of the workspace.
        params: Name the experiment.
        item: The device of the receipts.

    Raises:
        RegistryError: If the registry cannot be reached.
    """
    device = item or ""
    path = layout.registry(device) / Layout.RECEIPTS
    if not path.exists():
        return ()
    registry = open_registry(layout.root, experiment=params.registry.experiment)
    space_id, names = params.space.build().space_id, ModelNames.of(params)
    name = names.name(space_id=space_id, device=device)
    renamed = [item.bundle for item in _read_receipts(path) if item.model_name != name]
    return tuple(renamed) or missing_from(registry, path)


def missing_from(registry: SubnetRegistry, receipts: Path) -> tuple[str, ...]:
    """Return the bundles that receipts claim and a registry lacks."""
    claimed = _read_receipts(receipts)
    return tuple(
        item.bundle
        for item in claimed
        if registry.find(model_name=item.model_name, bundle_digest=item.bundle_digest) is None
    )


def registered_subnets(layout: Layout, params: Params, device: str) -> tuple[RegisteredSubnet, ...]:
    """Return the subnets of a device's receipts as the registry has them now, with versions."""
    registry = open_registry(layout.root, experiment=params.registry.experiment)
    found = [
        registry.find(model_name=item.model_name, bundle_digest=item.bundle_digest)
        for item in _read_receipts(layout.registry(device) / Layout.RECEIPTS)
    ]
    return tuple(subnet for subnet in found if subnet is not None)


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
        names: Of registered models.

    Raises:
        MissingArtifactError: If the index is not there.
        ManifestMismatchError: If it is not as the stage writes it.
    """
    remake = f"ofa-pipeline stage specialize --item {folder.name}"
    index = read_document(folder / Layout.BUNDLES, BundleIndex, remake=remake)
    return tuple(
        Entry(
            record=_record(item, device=index.device, names=names),
            bundle_folder=folder / item.name,
        )
        for item in index.bundles
    )


def _record(item: BundleEntry, *, device: str, names: ModelNames) -> SubnetRecord:
    accuracy = item.accuracy
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
    )


def _receipt(entry: Entry) -> Receipt:
    record = entry.record
    return Receipt(
        bundle=entry.bundle_folder.name,
        bundle_digest=record.bundle_digest,
        model_name=record.model_name,
        arch_id=record.arch.arch_id,
        budgets_ms=record.budgets_ms,
    )


def _read_receipts(path: Path) -> tuple[Receipt, ...]:
    remake = f"ofa-pipeline stage register --item {path.parent.name}"
    return read_document(path, Receipts, remake=remake).receipts


def _notes(
    device: str,
    manifest: Manifest,
    entries: tuple[Entry, ...],
    *,
    warnings: Sequence[RunWarning],
) -> RunNotes:
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
