"""Candidate and champion: which version of a registered model goes to the field, and by which rule.

Both are aliases of a registered model, so there is one of each a dataset, supernet and device.
"""

from dataclasses import dataclass
from typing import Literal

from ofa_pipeline.documents import SubnetCertificate
from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry.certificates import certify_version, measure_anew
from ofa_pipeline.registry.clocks import ahead_text
from ofa_pipeline.registry.comparison import figures_on, is_clearly_better
from ofa_pipeline.registry.parts import Part
from ofa_pipeline.registry.protocol import SubnetRegistry
from ofa_pipeline.registry.record import RegisteredSubnet

Rank = Literal["candidate", "champion"]


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of a promotion."""

    name: str
    is_met: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """Whether a version may bear an alias, and which it would take it from."""

    subnet: RegisteredSubnet
    rank: Rank
    before: RegisteredSubnet | None
    """The version that bears the alias now."""
    checks: tuple[Check, ...]

    @property
    def is_allowed(self) -> bool:
        """Whether every condition is met."""
        return all(check.is_met for check in self.checks)


def plan_promotion(registry: SubnetRegistry, subnet: RegisteredSubnet, rank: Rank) -> Promotion:
    """Find out whether a version may be promoted; nothing is changed.

    A candidate has files that are those that were registered, a certificate that has neither
    expired nor become stale, and a median within every budget that it was picked for. A champion
    was the candidate before, and beats the present champion: more accurate by more than the noise
    and not slower, or faster beyond the intervals and not less accurate.

    Args:
        registry: That holds it.
        subnet: The version.
        rank: What it is to become.
    """
    name = subnet.record.model_name
    aliases = registry.aliases(name)
    number = aliases.get(rank)
    before = None if number is None else _version(registry, name, number)
    checks = [*_proof(registry, subnet)]
    if rank == "champion":
        candidate = aliases.get("candidate")
        told = "no version is the candidate" if candidate is None else f"v{candidate} is"
        is_candidate = candidate == subnet.version
        checks.append(Check("candidate before", is_candidate, "it is" if is_candidate else told))
        if before is not None and before != subnet:
            checks.append(_beats(subnet, before))
    return Promotion(subnet=subnet, rank=rank, before=before, checks=tuple(checks))


def promote(registry: SubnetRegistry, plan: Promotion) -> None:
    """Let the alias name the version.

    Raises:
        RegistryError: If a condition is not met, or the registry refuses.
    """
    failed = [f"{check.name}: {check.reason}" for check in plan.checks if not check.is_met]
    if failed:
        raise RegistryError(
            f"{plan.subnet.model_uri} does not become the {plan.rank}: {'; '.join(failed)}. "
            "Whoever knows better sets the alias in MLflow."
        )
    registry.set_alias(plan.subnet, plan.rank)


def _version(registry: SubnetRegistry, name: str, number: int) -> RegisteredSubnet | None:
    part = Part(model_name=name, version=str(number))
    return registry.snapshot(part).by_uri.get(f"models:/{name}/{number}")


def _proof(registry: SubnetRegistry, subnet: RegisteredSubnet) -> tuple[Check, ...]:
    try:
        certificate = certify_version(registry, subnet)
    except RegistryError as error:
        return (Check("files", False, str(error)),)
    return (
        Check("files", True, f"all {len(certificate.files)} are as they were registered"),
        _validity(certificate, subnet.record.device),
        Check("device", not certificate.stale, certificate.stale or "is as it was certified"),
        _budgets(certificate, subnet.record.device),
    )


def _validity(certificate: SubnetCertificate, device: str) -> Check:
    if certificate.is_dated_ahead and certificate.issued is not None:
        text = "whether it has expired cannot be told: when it was registered, "
        way = "; where this one is right: delete the version in MLflow, then ofa-pipeline run"
        return Check("certificate", False, f"{text}{ahead_text(certificate.issued)}{way}")
    is_expired = certificate.is_expired
    text = f"{'expired' if is_expired else 'valid until'} {certificate.expires:%Y-%m-%d}"
    if is_expired:
        text = f"{text}. {measure_anew(device)}"
    return Check("certificate", not is_expired, text)


def _budgets(certificate: SubnetCertificate, device: str) -> Check:
    verdicts = {
        budget.budget_ms: budget.p50
        for item in certificate.devices
        if item.device == device
        for budget in item.budgets
    }
    over = [f"{budget_ms:.4g}" for budget_ms, verdict in verdicts.items() if verdict == "over"]
    if over:
        return Check("budgets", False, f"its median is over {', '.join(over)} ms on {device}")
    return Check("budgets", True, f"its median is within all {len(verdicts)} on {device}")


def _beats(subnet: RegisteredSubnet, champion: RegisteredSubnet) -> Check:
    """Compare with the champion, on the device of both."""
    name = f"better than v{champion.version}"
    if subnet.record.dataset_digest != champion.record.dataset_digest:
        return Check(name, False, "the champion was measured on other images: they do not compare")
    gain = 100 * (subnet.record.accuracy_top1 - champion.record.accuracy_top1)
    mine, its = figures_on(subnet, None), figures_on(champion, None)
    is_faster, is_slower = mine.ci_high_ms < its.ci_low_ms, mine.ci_low_ms > its.ci_high_ms
    is_better, is_worse = is_clearly_better(subnet, champion), is_clearly_better(champion, subnet)
    is_met = (is_better and not is_slower) or (is_faster and not is_worse)
    accuracy = "" if is_better or is_worse else " (within the noise)"
    latency = "" if is_faster or is_slower else " (within the noise)"
    return Check(
        name,
        is_met,
        f"{gain:+.2f} points{accuracy}, {mine.p50_ms:.3g} ms against {its.p50_ms:.3g} ms{latency}",
    )
