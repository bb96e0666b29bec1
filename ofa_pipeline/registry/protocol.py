"""What the rest of the package asks of a registry."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, Unpack, runtime_checkable

from ofa_pipeline.documents import LatencyCertificate, Quantile
from ofa_pipeline.registry.comparison import Explanation
from ofa_pipeline.registry.lookups import Snapshot
from ofa_pipeline.registry.parts import Part
from ofa_pipeline.registry.questions import Bounds, OtherBounds, Question
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a version was registered from; what was not recorded is empty."""

    run_id: str = ""
    """The registration."""
    commit: str = ""
    branch: str = ""
    repository: str = ""
    """Address of the repository that it was cloned from."""
    folder: str = ""
    """The workspace within the repository."""
    changes: tuple[str, ...] | None = None
    """Files that differed from the commit; None where that was not recorded."""
    package_version: str = ""
    command: str = ""
    user: str = ""
    subnets_digest: str = ""
    """Of the artifact with all bundles of the device."""
    source_digest: str = ""
    """Of the listing of the images."""
    source: str = ""
    """Of the images, as MLflow keeps it."""
    params: Mapping[str, str] = field(default_factory=dict)
    runs: Mapping[str, str] = field(default_factory=dict)
    """Runs that show the work of an artifact, by its digest."""


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

    def choose(self, **bounds: Unpack[Bounds]) -> RegisteredSubnet:
        """Return the most accurate subnet within the bounds that are given.

        Of equally accurate ones the faster. Every question for one subnet is this one: `best`,
        ``ofa-pipeline predict``, the aliases of budgets. Accuracies on different datasets do not
        compare: where the images behind a name have changed, a workspace sees those that it holds,
        others the newest. What each bound means is told by `Question`.

        Raises:
            InfeasibleConstraintError: If no subnet meets the bounds; names the nearest.
            RegistryError: If nothing is registered for the device and dataset, several datasets
                are and none is named, or the registry fails.
        """
        ...

    def best(
        self, *, device: str, max_latency_ms: float, **bounds: Unpack[OtherBounds]
    ) -> RegisteredSubnet:
        """Return the most accurate subnet within a latency on a device; see `choose`."""
        ...

    def answer(self, question: Question) -> RegisteredSubnet:
        """Return what `choose` returns for the bounds of a question."""
        ...

    def runner_up(self, question: Question) -> RegisteredSubnet | None:
        """Return the second best subnet within the bounds; None where there is only one.

        Raises:
            RegistryError: As `choose`.
        """
        ...

    def explain(self, question: Question) -> Explanation:
        """Return the best subnet, its runner-up, and what the next better one would cost.

        Raises:
            InfeasibleConstraintError: As `choose`.
            RegistryError: As `choose`.
        """
        ...

    def front(
        self, *, device: str, quantile: Quantile = "p50", dataset: str | None = None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return the Pareto front of a device, the fastest first.

        Raises:
            RegistryError: As `choose`.
        """
        ...

    def compare(self, uris: Sequence[str]) -> tuple[RegisteredSubnet, ...]:
        """Return versions to look at side by side, in the order in which they are named.

        Args:
            uris: Two or more ``models:/NAME/VERSION`` of one dataset.

        Raises:
            RegistryError: If one is not there, or their accuracies do not compare.
        """
        ...

    def version(self, uri: str) -> RegisteredSubnet:
        """Return a version, ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``, of any dataset.

        Raises:
            RegistryError: If it is not there; suggests the nearest.
        """
        ...

    def snapshot(self, part: Part | None = None) -> Snapshot:
        """Return what is registered now.

        Args:
            part: What is needed of it, which is all that a server is read for; more may be
                returned. None: everything.

        Raises:
            RegistryError: If the registry cannot be read.
        """
        ...

    def list_subnets(
        self, *, device: str | None = None, dataset: str | None = None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return what is registered, ordered by device, then latency.

        Args:
            device: Only what was measured on it.
            dataset: As for `choose`; without it and without a workspace, every dataset.

        Raises:
            RegistryError: If subnets are registered, but none of the device.
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

    def registered_at(self, subnet: RegisteredSubnet) -> datetime:
        """Return when a version was registered, by the clock of the registry.

        Raises:
            RegistryError: If the version is gone.
        """
        ...

    def origin(self, subnet: RegisteredSubnet, folder: Path) -> Origin:
        """Return where a version was registered from.

        Args:
            subnet: The version.
            folder: Receives the params.yaml and dvc.lock that were kept, where they were.

        Raises:
            RegistryError: If the version is gone, or the registry cannot be read.
        """
        ...

    def aliases(self, model_name: str) -> dict[str, int]:
        """Return the versions that the aliases of a registered model name.

        Raises:
            RegistryError: If the registry cannot be read.
        """
        ...

    def set_alias(self, subnet: RegisteredSubnet, alias: str) -> None:
        """Let an alias of a registered model name a version.

        Raises:
            RegistryError: If the registry refuses.
        """
        ...

    def mark(self, subnet: RegisteredSubnet, tag: str) -> str:
        """Return what somebody wrote on a version later; empty where nobody did.

        Args:
            subnet: The version.
            tag: `SIGNATURE_TAG` or `STALE_TAG` of `fields`.

        Raises:
            RegistryError: If the registry cannot be read.
        """
        ...

    def set_mark(self, subnet: RegisteredSubnet, tag: str, text: str) -> None:
        """Write something on a version; what was there under that tag is replaced.

        Raises:
            RegistryError: If the registry refuses.
        """
        ...
