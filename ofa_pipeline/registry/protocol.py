"""What the rest of the package asks of a registry."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from ofa_pipeline.documents import LatencyCertificate
from ofa_pipeline.errors import InfeasibleConstraintError
from ofa_pipeline.registry.choosing import latency_on
from ofa_pipeline.registry.record import RegisteredSubnet, SubnetRecord

_MAX_DATASET_DIGEST = 36
"""Characters that MLflow keeps of the digest of a dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A subnet to register: its record, and the folder with its files."""

    record: SubnetRecord
    bundle_folder: Path
    certificate: LatencyCertificate | None = None
    """Of the record's device, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetNotes:
    """A prepared dataset, as a registry shows it."""

    name: str
    digest: str
    source: str
    """As in params.yaml."""
    image_size_px: int
    num_classes: int
    num_images: Mapping[str, int]
    """By split."""

    @property
    def short_digest(self) -> str:
        """As much of the digest as MLflow keeps."""
        return self.digest[:_MAX_DATASET_DIGEST]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkNotes:
    """What a registry writes about finished work, in a run of its own: for people.

    It is written once, however often it is given: work is known by the digest of its artifact.
    """

    kind: str
    """The stage that did it."""
    name: str
    digest: str
    description: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Figures of each epoch, the first one first."""
    tags: Mapping[str, str] = field(default_factory=dict)
    dataset: DatasetNotes | None = None
    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """By the folder that they get into; empty for none."""
    duration_s: float = 0.0
    ended_s: float | None = None
    """Seconds since 1970; None: now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNotes:
    """What a registry writes about the run that registers: for people, never looked up."""

    name: str
    description: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    dataset: DatasetNotes | None = None
    """That the subnets were trained and tested on."""
    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """By the folder that they get into; empty for none."""
    works: Sequence[WorkNotes] = ()
    """What the subnets were made by."""


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

    def choose(
        self,
        *,
        device: str | None = None,
        max_latency_ms: float | None = None,
        min_accuracy: float | None = None,
        dataset: str | None = None,
    ) -> RegisteredSubnet:
        """Return the most accurate subnet within the bounds that are given.

        Of equally accurate ones the faster. Every question for one subnet is this one: `best`,
        ``ofa-pipeline predict``, the aliases of budgets.

        Args:
            device: Name of a device card that it was measured on. None: every subnet on the
                device that it was picked for.
            max_latency_ms: Upper bound of the measured median.
            min_accuracy: Lower bound of top-1 on test, fraction.
            dataset: Name of a dataset, the beginning of its digest, or `ANY_DATASET`: the only
                one that is registered for the device. None: the dataset of the workspace that
                the registry was opened for; without a workspace, as `ANY_DATASET`. Accuracies on
                different datasets do not compare: where the images behind a name have changed, a
                workspace sees those that it holds, others the newest.

        Raises:
            InfeasibleConstraintError: If no subnet meets the bounds; names the nearest.
            RegistryError: If nothing is registered for the device and dataset, several datasets
                are and none is named, or the registry fails.
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
        """Return the most accurate subnet within a latency on a device; see `choose`."""
        ...

    def list_subnets(
        self, *, device: str | None = None, dataset: str | None = None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return what is registered, ordered by device, then latency.

        Args:
            device: Only what was measured on it.
            dataset: As for `choose`; without it and without a workspace, every dataset.
        """
        ...

    def find(self, *, model_name: str, bundle_digest: str) -> RegisteredSubnet | None:
        """Return the subnet with this content, or None."""
        ...

    def download(self, subnet: RegisteredSubnet, folder: Path) -> Path:
        """Bring the bundle of a registered subnet into a folder and return where it lies.

        Raises:
            RegistryError: If its files are gone, or are not those that were registered.
        """
        ...


def infeasible(
    subnets: Sequence[RegisteredSubnet],
    *,
    device: str | None,
    max_latency_ms: float | None,
    min_accuracy: float | None,
) -> InfeasibleConstraintError:
    """Return the error of `SubnetRegistry.choose` when no subnet meets the bounds.

    Args:
        subnets: What is registered for the device; at least one.
        device: As asked.
        max_latency_ms: As asked.
        min_accuracy: As asked.
    """
    limit_ms = math.inf if max_latency_ms is None else max_latency_ms
    fastest = min(subnets, key=lambda subnet: latency_on(subnet, device))
    fastest_ms = latency_on(fastest, device)
    bounds = []
    if max_latency_ms is not None:
        bounds.append(f"latency_ms <= {max_latency_ms:g}" + (f" on {device}" if device else ""))
    if min_accuracy is not None:
        bounds.append(f"accuracy_top1 >= {min_accuracy:g}")
    wanted = " and ".join(bounds)
    if fastest_ms > limit_ms:
        return InfeasibleConstraintError(
            f"no registered subnet has {wanted}: the fastest of {len(subnets)} takes "
            f"{fastest_ms:.4g} ms (arch {fastest.record.arch.arch_id}). Raise the limit, or add "
            f"a smaller budget to devices.{device or fastest.record.device} in params.yaml and run "
            "the pipeline."
        )
    within = [subnet for subnet in subnets if latency_on(subnet, device) <= limit_ms]
    nearest = max(within, key=lambda subnet: subnet.record.accuracy_top1)
    return InfeasibleConstraintError(
        f"no registered subnet has {wanted}: the most accurate one within the latency reaches "
        f"{nearest.record.accuracy_top1:.4f} (arch {nearest.record.arch.arch_id}). Allow more "
        "latency or less accuracy."
    )
