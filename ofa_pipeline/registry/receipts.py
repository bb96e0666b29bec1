"""What a workspace has registered, and whether the registry still has it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.documents import Receipt, Receipts, read_document
from ofa_pipeline.params import Params
from ofa_pipeline.registry.entries import ModelNames
from ofa_pipeline.registry.protocol import Entry, SubnetRegistry
from ofa_pipeline.registry.record import RegisteredSubnet
from ofa_pipeline.registry.workspace import open_registry


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


def receipts_of(device: str, entries: Sequence[Entry]) -> Receipts:
    """Return the receipts of what was registered.

    They say what was registered under which name, not where: versions differ between servers,
    and the same bundles give the same receipts on each.
    """
    return Receipts(device=device, receipts=tuple(_receipt(entry) for entry in entries))


def missing_receipts(layout: Layout, params: Params, device: str) -> tuple[str, ...]:
    """Return the bundles that the receipts of a device claim and the registry lacks.

    Another server, a deleted version, lost files, another name: then the stage has to run again
    although its inputs are the same. Without receipts nothing is claimed, and the result is empty.

    Args:
        layout: Layout of the workspace.
        params: Name the experiment.
        device: The device of the receipts.

    Raises:
        RegistryError: If the registry cannot be reached.
    """
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
