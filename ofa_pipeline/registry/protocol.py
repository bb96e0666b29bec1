"""What the rest of the package asks of a registry."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from ofa_pipeline.errors import InfeasibleConstraintError
from ofa_pipeline.registry.record import RegisteredSubnet, SubnetRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A subnet to register: its record, and the folder with its files."""

    record: SubnetRecord
    bundle_folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNotes:
    """What a registry writes about the run that registers: for people, never looked up."""

    name: str
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class SubnetRegistry(Protocol):
    """Holds every extracted subnet with its accuracy, latency and history."""

    def check(self, model_names: Iterable[str] = ()) -> None:
        """Check quickly that the registry answers and that the names are ours or free.

        Raises:
            RegistryError: If it cannot be reached, or a model of that name is foreign.
        """
        ...

    def register(self, record: SubnetRecord, bundle_folder: Path) -> RegisteredSubnet:
        """Register one subnet; one with the same content digest is returned as it is.

        Raises:
            RegistryError: If the registry refuses.
        """
        ...

    def register_all(
        self, entries: Sequence[Entry], *, notes: RunNotes
    ) -> tuple[RegisteredSubnet, ...]:
        """Register subnets in one run of the registry; in the order of the entries.

        Raises:
            RegistryError: If the registry refuses. What was registered before stays, and the
                next call completes the rest.
        """
        ...

    def best(
        self,
        *,
        device: str,
        max_latency_ms: float,
        min_accuracy: float | None = None,
        dataset: str | None = None,
    ) -> RegisteredSubnet:
        """Return the most accurate subnet that was measured within a latency on a device.

        Args:
            device: Name of a device card.
            max_latency_ms: Upper bound of the measured median.
            min_accuracy: Lower bound of top-1 on test, fraction.
            dataset: Beginning of a dataset digest. Accuracies on different datasets do not
                compare: without it, the dataset of the device's newest subnet.

        Raises:
            InfeasibleConstraintError: If no subnet meets the bounds; names the nearest.
            RegistryError: If nothing is registered for the device, or the registry fails.
        """
        ...

    def list_subnets(
        self, *, device: str | None = None, dataset: str | None = None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return what is registered, ordered by device, then latency."""
        ...

    def find(self, *, model_name: str, bundle_digest: str) -> RegisteredSubnet | None:
        """Return the subnet with this content, or None."""
        ...

    def download(self, subnet: RegisteredSubnet, folder: Path) -> Path:
        """Bring the bundle of a registered subnet into a folder and return where it lies.

        Raises:
            RegistryError: If its files are gone.
        """
        ...


def infeasible(
    subnets: Sequence[RegisteredSubnet],
    *,
    device: str,
    max_latency_ms: float,
    min_accuracy: float | None,
) -> InfeasibleConstraintError:
    """Return the error of `SubnetRegistry.best` when no subnet meets the bounds.

    Args:
        subnets: What is registered for the device; at least one.
        device: As asked.
        max_latency_ms: As asked.
        min_accuracy: As asked.
    """
    fastest = min(subnets, key=lambda subnet: subnet.record.latency[device].p50_ms)
    fastest_ms = fastest.record.latency[device].p50_ms
    wanted = f"latency_ms <= {max_latency_ms:g} on {device}"
    if min_accuracy is not None:
        wanted += f" and accuracy_top1 >= {min_accuracy:g}"
    if fastest_ms > max_latency_ms:
        return InfeasibleConstraintError(
            f"no registered subnet has {wanted}: the fastest of {len(subnets)} takes "
            f"{fastest_ms:.4g} ms (arch {fastest.record.arch.arch_id}). Raise the limit, or add "
            f"a smaller budget to devices.{device} in params.yaml and run the pipeline."
        )
    within = [
        subnet for subnet in subnets if subnet.record.latency[device].p50_ms <= max_latency_ms
    ]
    nearest = max(within, key=lambda subnet: subnet.record.accuracy_top1)
    return InfeasibleConstraintError(
        f"no registered subnet has {wanted}: the most accurate one within the latency reaches "
        f"{nearest.record.accuracy_top1:.4f} (arch {nearest.record.arch.arch_id}). Allow more "
        "latency or less accuracy."
    )
