"""What a registered subnet was made from, and whether making it again gives the same."""

from typing import Literal

from pydantic import ConfigDict

from ofa_pipeline.documents.base import Document, Part

ReplayVerdict = Literal["equal", "differs", "missing", "measured"]


class LineageStep(Part):
    """One link of the chain from a version to its data."""

    what: str
    stage: str
    """The stage that made it, with its phase or device: ``train_supernet@largest``."""
    artifact: str
    """Path relative to the workspace."""
    digest: str
    """Of the artifact; empty where it was not recorded."""
    note: str = ""
    run: str = ""
    """The run of MLflow that shows it; empty for none."""


class LineageOrigin(Part):
    """Where a version was registered from; what was not recorded is empty."""

    run_id: str
    commit: str
    branch: str
    repository: str
    """Address of the repository that it was cloned from."""
    folder: str
    """The workspace within the repository."""
    changes: tuple[str, ...] | None
    """Files that differed from the commit; null where that was not recorded."""
    package_version: str
    command: str
    user: str
    has_lock: bool
    """Whether dvc.lock was kept, which `ofa-pipeline reproduce` needs."""


class LineageAnswer(Document):
    """The answer of ``ofa-pipeline lineage``."""

    model_config = ConfigDict(title="the lineage of a registered subnet")

    model_uri: str
    arch_id: str
    device: str
    bundle_digest: str
    files: dict[str, str]
    """SHA-256 of each file of the bundle, as they were fetched and registered."""
    steps: tuple[LineageStep, ...]
    """From the bundle to the listing of the images."""
    origin: LineageOrigin
    params: dict[str, str]
    """Params of the stage that made the bundle, by dotted name."""


class ReplayedStep(Part):
    """What came of one link of the chain."""

    what: str
    """The artifact, or a file of the bundle."""
    stage: str
    recorded: str
    """Digest that was registered."""
    kept: ReplayVerdict
    """Whether what the remote keeps has that digest."""
    replayed: ReplayVerdict | None
    """Whether making it again gave that digest; null where it was not made again."""
    note: str = ""


class ReproductionAnswer(Document):
    """The answer of ``ofa-pipeline reproduce``."""

    model_config = ConfigDict(title="the reproduction of a registered subnet")

    model_uri: str
    commit: str
    folder: str
    """Where the clone lies."""
    steps: tuple[ReplayedStep, ...]
    is_reproduced: bool
    """Whether every digest that can be the same is."""
