"""From the bundles of a device to the entries of the registry."""

from dataclasses import dataclass
from pathlib import Path

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.documents import BundleEntry, BundleIndex, LatencyFigures, read_document
from ofa_pipeline.params import Params
from ofa_pipeline.registry.protocol import Entry
from ofa_pipeline.registry.record import SubnetRecord, registered_model_name


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
            certificate=item.latency.get(index.device),
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
