"""Reads what a report says of devices from their artifacts: latency, search, subnets."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ofa_pipeline.artifacts import Layout, verify_artifact
from ofa_pipeline.documents import (
    BundleEntry,
    BundleIndex,
    Card,
    DeviceProfile,
    FittedLatency,
    PickedSubnet,
    Picks,
    Receipts,
    Recertification,
    read_document,
)
from ofa_pipeline.errors import ManifestMismatchError
from ofa_pipeline.report.contents import (
    ConfusionFacts,
    FrontPoint,
    Interval,
    LatencyFacts,
    LatencySample,
    PickFacts,
    SearchFacts,
    SubnetFacts,
    proportion_interval,
)
from ofa_pipeline.report.source import Source, fresh_manifest
from ofa_pipeline.tables import (
    EVALUATIONS_SCHEMA,
    FRONT_SCHEMA,
    LATENCY_SCHEMA,
    PREDICTIONS_SCHEMA,
    read_table,
)

_VERDICTS = ("within", "within_noise", "over")
"""From best to worst."""


def load_latency(source: Source) -> LatencyFacts:
    """Read the samples of a latency model and the device card."""
    profile = read_document(
        source.path(Layout.DEVICE_PROFILE), DeviceProfile, remake=source.made_by
    )
    model = read_document(source.path(Layout.LATENCY_MODEL), FittedLatency, remake=source.made_by)
    rows = read_table(source.path(Layout.LATENCIES), LATENCY_SCHEMA).to_pylist()
    return LatencyFacts(
        card=profile.device.to_dict(),
        samples=tuple(
            LatencySample(
                arch_id=row["arch_id"],
                role=row["role"],
                measured_ms=row["p50_ms"],
                interval=Interval(low=row["ci_low_ms"], high=row["ci_high_ms"]),
                estimated_ms=row["latency_ms_estimated"],
            )
            for row in rows
        ),
        noise_cv=model.report.noise.cv,
        num_contended=model.report.noise.num_contended,
        files=tuple(source.name(name) for name in (Layout.LATENCIES, Layout.LATENCY_MODEL)),
    )


def load_location(source: Source, *, device: str) -> str | None:
    """Read where a device is from what it was profiled with; None for that machine itself."""
    location = source.manifest().params.get(f"devices.{device}.card", {}).get("location")
    return None if location is None else str(location)


def load_search(source: Source) -> SearchFacts:
    """Read the front, the verified subnets and the picks of a device."""
    document = read_document(source.path(Layout.PICKS), Picks, remake=source.made_by)
    front = read_table(source.path(Layout.FRONT), FRONT_SCHEMA).to_pylist()
    verified = read_table(source.path(Layout.EVALUATIONS), EVALUATIONS_SCHEMA).to_pylist()
    return SearchFacts(
        front=tuple(
            FrontPoint(
                arch_id=row["arch_id"],
                latency_ms=row["latency_ms_estimated"],
                accuracy_top1=row["accuracy_top1_estimated"],
            )
            for row in front
        ),
        verified=tuple(
            FrontPoint(
                arch_id=row["arch_id"],
                latency_ms=row["p50_ms"],
                accuracy_top1=row["accuracy_top1_selection"],
            )
            for row in verified
        ),
        picks=tuple(_pick(pick) for pick in document.picks),
        noise_std=document.accuracy_noise_points / 100,
        num_rounds=document.num_rounds,
        is_stable=document.is_stable,
        accuracy_rmse=document.verification.accuracy_rmse_points / 100,
        latency_mape=document.verification.latency_mape_percent / 100,
        files=tuple(source.name(name) for name in (Layout.FRONT, Layout.EVALUATIONS, Layout.PICKS)),
    )


def load_subnets(source: Source, *, device: str) -> tuple[SubnetFacts, ...]:
    """Read the bundles of a device, the fastest first.

    Raises:
        ManifestMismatchError: If the device has no bundles.
    """
    index = read_document(source.path(Layout.BUNDLES), BundleIndex, remake=source.made_by)
    subnets = [_subnet(source, entry, device=device) for entry in index.bundles]
    if not subnets:
        raise ManifestMismatchError(
            f"{source.path(Layout.BUNDLES)} must hold at least one bundle, it holds none. "
            f"Produce it again with: {source.made_by}"
        )
    return tuple(sorted(subnets, key=lambda subnet: (subnet.p50_ms, subnet.name)))


def load_model_name(source: Source) -> str:
    """Read the name that a device's subnets are registered under; empty when there are none."""
    document = read_document(source.path(Layout.RECEIPTS), Receipts, remake=source.made_by)
    return ", ".join(sorted({receipt.model_name for receipt in document.receipts}))


def load_recertification(folder: Path, bundles: Source, *, device: str) -> Recertification | None:
    """Read what was measured of the bundles of a device after they were certified.

    Args:
        folder: Where ``ofa-pipeline recertify`` keeps it; may be missing.
        bundles: The artifact of the stage specialize.
        device: Its name.

    Returns:
        None where nobody has measured these bundles again.

    Raises:
        ManifestMismatchError: If the file was changed after it was written.
    """
    if fresh_manifest(folder, root=bundles.root, of=[bundles.folder]) is None:
        return None
    verify_artifact(folder)
    remake = f"ofa-pipeline recertify {device}"
    return read_document(folder / Layout.RECERTIFICATION, Recertification, remake=remake)


def load_confusion(
    source: Source, *, subnet: SubnetFacts, class_names: Sequence[str]
) -> ConfusionFacts:
    """Count what a subnet takes for what, from its predictions on the test images.

    Raises:
        ManifestMismatchError: If there are no predictions of the subnet, or a class is unknown.
    """
    path = source.path(Layout.PREDICTIONS)
    rows = read_table(path, PREDICTIONS_SCHEMA).to_pylist()
    arch_id = subnet.arch.arch_id
    pairs = Counter((row["label"], row["predicted"]) for row in rows if row["arch_id"] == arch_id)
    classes = range(len(class_names))
    counts = tuple(tuple(pairs[true, predicted] for predicted in classes) for true in classes)
    found = sum(map(sum, counts))
    if not found or found != pairs.total():
        raise ManifestMismatchError(
            f"{path} must hold predictions of subnet {arch_id} for {len(class_names)} classes, "
            f"found {pairs.total()}, {found} of them of these classes. "
            f"Produce it again with: {source.made_by}"
        )
    return ConfusionFacts(
        subnet=subnet,
        class_names=tuple(class_names),
        counts=counts,
        file=source.name(Layout.PREDICTIONS),
    )


def _pick(pick: PickedSubnet) -> PickFacts:
    return PickFacts(
        budget_ms=pick.budget_ms,
        arch_id=pick.arch_id,
        latency_ms=pick.latency_ms,
        accuracy_top1=pick.accuracy_top1_selection,
        num_tied=pick.num_tied,
    )


def _subnet(source: Source, entry: BundleEntry, *, device: str) -> SubnetFacts:
    """Read the card of a bundle; `entry` is its line in the index."""
    path = source.path(entry.name) / Layout.CARD
    card = read_document(path, Card, remake=source.made_by)
    if device not in card.latency:
        raise ManifestMismatchError(
            f"{path} must hold a latency on {device}, found {', '.join(card.latency) or 'none'}. "
            f"Produce it again with: {source.made_by}"
        )
    accuracy, latency = card.accuracy, card.latency[device]
    return SubnetFacts(
        device=device,
        name=entry.name,
        budgets_ms=card.budgets_ms,
        arch=entry.arch,
        accuracy_top1=accuracy.accuracy_top1,
        accuracy_interval=proportion_interval(
            accuracy.accuracy_top1, count=accuracy.num_test_images
        ),
        num_test_images=accuracy.num_test_images,
        accuracy_selection_extracted=accuracy.accuracy_top1_selection_extracted,
        accuracy_selection=accuracy.accuracy_top1_selection,
        p50_ms=latency.p50_ms,
        p50_interval=Interval(low=latency.ci_low_ms, high=latency.ci_high_ms),
        p95_ms=latency.p95_ms,
        num_runs=latency.num_runs,
        is_contended=latency.is_contended,
        verdict=max((item.verdict for item in latency.verdicts), key=_VERDICTS.index),
        shipped_file=latency.file,
        macs=card.cost.macs,
        num_params=card.cost.num_params,
        parity_max_abs_difference=card.parity.max_abs_difference,
        parity_top1_agreement=card.parity.top1_agreement,
        digest=entry.bundle_digest,
        file=source.name(entry.name, Layout.CARD),
        verdicts={item.budget_ms: item.verdict for item in latency.verdicts},
        load_ms=latency.load_ms,
        first_call_ms=latency.first_call_ms,
        peak_memory_mb=latency.peak_memory_mb,
        network_memory_mb=latency.network_memory_mb,
    )
