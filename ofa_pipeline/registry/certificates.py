"""Certificates of registered subnets and of bundles, made from files that were verified."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ofa_pipeline.artifacts import Layout, digest_file, digest_json
from ofa_pipeline.documents import (
    BudgetCertificate,
    Card,
    DeviceCertificate,
    LatencyCertificate,
    SubnetCertificate,
    read_document,
)
from ofa_pipeline.errors import OfaPipelineError, RegistryError, shorten
from ofa_pipeline.registry.clocks import ahead_text, is_ahead
from ofa_pipeline.registry.fields import STALE_TAG
from ofa_pipeline.registry.plain_files import check_names, plain_files
from ofa_pipeline.registry.protocol import SubnetRegistry
from ofa_pipeline.registry.record import RegisteredSubnet
from ofa_pipeline.temporary import temporary_folder

VALID_DAYS = 365
"""Days that a certificate holds, unless it is asked for other ones."""
MAX_REASON = 500
"""Characters of the reason why a certificate is stale."""
_REMAKE = "ofa-pipeline pull models:/NAME/VERSION"


def certify_version(
    registry: SubnetRegistry, subnet: RegisteredSubnet, *, valid_days: float = VALID_DAYS
) -> SubnetCertificate:
    """Return the certificate of a registered subnet, after its files were fetched and compared.

    Args:
        registry: That holds it.
        subnet: The version.
        valid_days: From the registration to the expiry.

    Raises:
        RegistryError: If a file is gone or not the one that was registered, or the registry
            tells other figures than the certificate among the files.
    """
    with temporary_folder("certificate") as folder:
        bundle = registry.download(subnet, folder)  # compares every byte
        certificate = _certificate(bundle, subnet.model_uri, card_of(bundle, subnet))
    for item in certificate.devices:
        figures = subnet.record.latency.get(item.device)
        if figures is None or (figures.p50_ms, figures.p95_ms) != (item.p50_ms, item.p95_ms):
            told = "nothing" if figures is None else f"{figures.p50_ms:.6g} ms"
            raise RegistryError(
                f"{subnet.model_uri}: the registry tells {told} for {item.device}, its certificate "
                f"{item.p50_ms:.6g} ms. Somebody changed the record: delete the version and run "
                "the stage register again."
            )
    return certificate.model_copy(update=asdict(validity_of(registry, subnet, valid_days)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """How far the certificate of a version is to be relied on today."""

    issued: datetime
    expires: datetime
    is_expired: bool
    is_dated_ahead: bool
    """Whether it is dated ahead of this machine's clock, so that expiry cannot be told."""
    stale: str
    """Why its device is another one by now; empty where that was not found."""


def validity_of(
    registry: SubnetRegistry, subnet: RegisteredSubnet, valid_days: float = VALID_DAYS
) -> Validity:
    """Return how far the certificate of a version is to be relied on; its files are not read.

    Args:
        registry: That holds it.
        subnet: The version.
        valid_days: From the registration to the expiry.
    """
    issued = registry.registered_at(subnet)
    expires = issued + timedelta(days=valid_days)
    return Validity(
        issued=issued,
        expires=expires,
        is_expired=expires < datetime.now(UTC),
        is_dated_ahead=is_ahead(issued),
        stale=stale_reason(registry, subnet),
    )


def doubts(found: Validity | SubnetCertificate, *, device: str) -> tuple[str, ...]:
    """Return in lines why a certificate is not to be relied on, each with what to do.

    Args:
        found: The certificate, or what is known of it.
        device: That the subnet was picked for.
    """
    lines = [f"stale: {found.stale}"] if found.stale else []
    if found.is_dated_ahead and found.issued is not None:
        lines.append(
            "whether its certificate has expired cannot be told: when it was registered, "
            f"{ahead_text(found.issued)}."
        )
    if found.is_expired and found.expires is not None:
        lines.append(
            f"its certificate expired on {found.expires:%Y-%m-%d}: the machine and its runtime may "
            f"have changed. {measure_anew(device)}"
        )
    return tuple(lines)


def measure_anew(device: str) -> str:
    """Return how a device gets new certificates: what is up to date is never measured again."""
    return (
        "Have it measured and certified anew, in its workspace: ofa-pipeline device profile "
        f"{device} --again ; ofa-pipeline run --device {device}"
    )


def stale_reason(registry: SubnetRegistry, subnet: RegisteredSubnet) -> str:
    """Return why the device of a version is another one by now; empty where it was not found.

    Whoever may write to the registry may write anything there: it is never long.
    """
    return shorten(registry.mark(subnet, STALE_TAG), MAX_REASON)


def certify_bundle(folder: Path) -> SubnetCertificate:
    """Return the certificate of a bundle that lies in a folder, after its files were compared.

    Raises:
        MissingArtifactError: If it has no card.
        ManifestMismatchError: If its card is damaged.
        RegistryError: If a file is not as the card says.
    """
    card = read_document(folder / Layout.CARD, Card, remake=_REMAKE)
    return _certificate(folder, str(folder), card)


def card_of(bundle: Path, subnet: RegisteredSubnet) -> Card:
    """Return the card of a version that was fetched.

    Raises:
        RegistryError: If it is missing or damaged; names the version, not the folder.
    """
    try:
        return read_document(bundle / Layout.CARD, Card, remake="ofa-pipeline stage register")
    except OfaPipelineError as error:
        raise RegistryError(as_told(error, bundle, subnet)) from error


def as_told(error: OfaPipelineError, bundle: Path, subnet: RegisteredSubnet) -> str:
    """Return what is wrong with a fetched bundle, by its version: nobody knows the folder."""
    return f"{subnet.model_uri}: {str(error).replace(f'{bundle}/', '')}"


def _certificate(folder: Path, source: str, card: Card) -> SubnetCertificate:
    files = plain_files(folder, source=source, has_cache=True)
    check_names(folder, source=source)
    digests = {name: digest_file(path) for name, path in files.items()}
    _compare(card, digests, source)
    return SubnetCertificate(
        source=source,
        arch_id=card.arch_id,
        accuracy_top1=card.accuracy.accuracy_top1,
        num_test_images=card.accuracy.num_test_images,
        devices=tuple(
            _of_device(name, latency, card.budgets_ms) for name, latency in card.latency.items()
        ),
        bundle_digest=digest_json(digests),
        files=digests,
        issued=None,
        expires=None,
        is_expired=False,
    )


def _compare(card: Card, digests: dict[str, str], source: str) -> None:
    """Compare the files that the card names with their digests.

    Raises:
        RegistryError: If one is missing or changed.
    """
    wanted = dict(card.files)
    for latency in card.latency.values():
        if wanted.setdefault(latency.file, latency.file_digest) != latency.file_digest:
            raise RegistryError(
                f"{source}: {latency.file} is not the file that was measured: the card has two "
                "digests of it. Do not use it: fetch the bundle again."
            )
    changed = sorted(name for name, digest in wanted.items() if digests.get(name) != digest)
    if changed:
        name = changed[0]
        found = digests.get(name, "nothing")
        raise RegistryError(
            f"{source}: {name} must have the SHA-256 {wanted[name][:12]}..., found {found[:12]}"
            f"{f' (and {len(changed) - 1} more files differ)' if changed[1:] else ''}. The "
            "certificate is of another file: fetch the bundle again."
        )


def _of_device(
    device: str, latency: LatencyCertificate, budgets_ms: tuple[float, ...]
) -> DeviceCertificate:
    budgets = sorted({item.budget_ms for item in latency.verdicts} | set(budgets_ms))
    return DeviceCertificate(
        device=device,
        card=latency.card,
        fingerprint=latency.card.fingerprint,
        p50_ms=latency.p50_ms,
        p95_ms=latency.p95_ms,
        ci_low_ms=latency.ci_low_ms,
        ci_high_ms=latency.ci_high_ms,
        p95_high_ms=latency.high_ms("p95"),
        num_runs=latency.num_runs,
        num_dropped_runs=latency.num_dropped_runs,
        attempts_p50_ms=latency.attempts_p50_ms,
        stability=latency.stability,
        is_contended=latency.is_contended,
        is_warm=latency.is_warm,
        load_ms=latency.load_ms,
        first_call_ms=latency.first_call_ms,
        peak_memory_mb=latency.peak_memory_mb,
        network_memory_mb=latency.network_memory_mb,
        file=latency.file,
        file_digest=latency.file_digest,
        budgets=tuple(
            BudgetCertificate(
                budget_ms=budget_ms,
                p50=latency.verdict(budget_ms),
                p95=latency.verdict(budget_ms, quantile="p95"),
            )
            for budget_ms in budgets
        ),
    )
