"""Stage ``register``: every bundle of a device into the registry, once."""

from ofa_pipeline.artifacts import Layout, verify_artifact, write_json
from ofa_pipeline.params import Params
from ofa_pipeline.registry import (
    ModelNames,
    RegisteredSubnet,
    SubnetRegistry,
    missing_receipts,
    open_registry,
    read_entries,
    receipts_of,
    run_notes,
)
from ofa_pipeline.run_warnings import warnings_in
from ofa_pipeline.stages.run import StageRun


def run(stage: StageRun) -> None:
    """Register the bundles of one device and write the receipts."""
    register(stage, open_registry(stage.layout.root, experiment=stage.params.registry.experiment))


def register(stage: StageRun, registry: SubnetRegistry) -> tuple[RegisteredSubnet, ...]:
    """Register the bundles of one device in a registry and write the receipts.

    Raises:
        RegistryError: If the registry cannot be reached or refuses.
        MissingArtifactError: If a bundle is not there.
        ManifestMismatchError: If a bundle is not as it was written.
    """
    folder = stage.layout.subnets(stage.item)
    manifest = verify_artifact(folder)
    entries = read_entries(folder, names=ModelNames.of(stage.params))
    registry.check({entry.record.model_name for entry in entries})
    notes = run_notes(
        stage.layout, stage.params, stage.item, entries, warnings=warnings_in(manifest, folder)
    )
    registered = registry.register_all(entries, notes=notes)
    with stage.writing() as writer:
        write_json(writer.folder / Layout.RECEIPTS, receipts_of(stage.item, entries).to_dict())
        writer.summary |= {
            "num_registered": len(entries),
            "dataset": stage.params.dataset.label,
        }
    return registered


def missing_outside(layout: Layout, params: Params, item: str | None) -> tuple[str, ...]:
    """Return what the receipts of a device claim and the registry lacks."""
    return missing_receipts(layout, params, item or "")
