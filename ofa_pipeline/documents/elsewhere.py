"""Documents of a device elsewhere: what is to be measured there, and what came back."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from ofa_pipeline.arch import Arch
from ofa_pipeline.documents.base import Count, Digest, Document, Part, RuntimeOptions
from ofa_pipeline.documents.latency import DeviceCard

Nanoseconds = Annotated[int, Field(gt=0)]
MeasuringRound = Literal["check", "profile", "search", "ship"]
"""What is measured for: the noise of the machine, the latency model, the candidates of a search,
the files that ship."""


class CardElsewhere(Part):
    """What is known of a device before anything was measured on it."""

    runtime: str
    accelerator: str
    precision: str
    threads: int
    batch_size: int
    pinning: tuple[int, ...] | None = Field(default=None, exclude_if=lambda v: v is None)
    """Cores there that measurements are pinned to."""
    options: RuntimeOptions | None = Field(default=None, exclude_if=lambda v: v is None)
    """Of the runtime, by its own names; None where params.yaml names none."""


class NetworkElsewhere(Part):
    """The file of a network that is measured elsewhere."""

    key: str
    """Identifier of its architecture, or the digest of the file that ships."""
    file: str
    """Relative to the folder that is exported."""
    sha256: Digest
    resolution_px: int
    macs: Count
    """Multiply-accumulates of an image: no machine is faster than it can be."""


class MeasurementSettings(Part):
    """How often each network is called."""

    warmup_runs: int
    timed_runs: int


class ProfiledOn(Part):
    """What a machine must be to count as the one of a profile."""

    runtime_version: str
    hardware: str
    governor: str | None
    driver: str | None
    cores: int | None = Field(default=None, exclude_if=lambda v: v is None)
    """CPU cores that the script may use; None for a GPU, and where it was not noted."""


class MeasuringTask(Document):
    """What is to be measured elsewhere: the manifest of an exported folder."""

    model_config = ConfigDict(title="what is to be measured elsewhere")

    id: str
    """Digest of all the rest."""
    device: str
    round: MeasuringRound
    card: CardElsewhere
    profiled_on: ProfiledOn | None = Field(default=None, exclude_if=lambda v: v is None)
    """What the machine must be; None for a profile, and where an earlier version exported."""
    measurement: MeasurementSettings
    reference: NetworkElsewhere
    networks: list[NetworkElsewhere]


class MachineElsewhere(ProfiledOn):
    """What measured: the part of a device card that only the machine knows."""

    machine: str
    """Ten digits that tell it from others of its kind."""


class LoadElsewhere(Part):
    """What else the machine did before anything was measured."""

    busy_cores: Annotated[float, Field(ge=0)] | None
    """What other programs kept busy; None where the system does not say."""
    num_cores: Annotated[int, Field(gt=0)]
    """Of the machine."""


class Visit(Part):
    """A few calls of one network in a row."""

    ns: Annotated[list[Nanoseconds], Field(min_length=1)]
    """Of each call."""
    cpu_ns: Count | None
    """CPU time a call; None where the calling thread does not do the work alone."""


class Session(Part):
    """A fresh load of a network and of the reference, called in turn."""

    network: Annotated[list[Visit], Field(min_length=1)]
    reference: list[Visit]
    """One more than of the network: before the first, between, and after the last."""
    load_ns: Nanoseconds
    first_call_ns: Nanoseconds
    is_warm: bool | None = None
    """Whether both became no faster before they were timed; None where an earlier version of the
    script measured."""


class LoadAlone(Part):
    """A fresh load of a network with no other one in memory."""

    load_ns: Nanoseconds
    first_call_ns: Nanoseconds
    resident_bytes: Count | None
    """Memory of the process before; None where the system there does not say."""
    peak_bytes: Count | None
    """The most until the first call was done."""


class MeasuredRow(Part):
    """The calls of one network, or why there are none."""

    key: str
    sha256: Digest
    """Of the file that was measured."""
    task: str
    """Identifier of the task that it was measured for."""
    card: MachineElsewhere
    alone: LoadAlone | None = None
    """None where an earlier version of the script measured."""
    sessions: tuple[Session, ...] = ()
    error: str | None = None
    """What the runtime said of a network that it cannot run."""


class MeasuringResult(Document):
    """What a folder that was exported came back with."""

    model_config = ConfigDict(title="what was measured elsewhere")

    task: MeasuringTask
    card: MachineElsewhere
    load: LoadElsewhere | None = Field(default=None, exclude_if=lambda v: v is None)
    """When the script was started last; None of a phone, and where it was not noted."""
    rows: list[MeasuredRow]
    digest: Digest
    """Of all the rest, as canonical JSON."""


class AwaitedFile(Part):
    """A file that is to be measured as it ships."""

    path: str
    """Relative to the workspace."""
    sha256: Digest
    arch: Arch


class Awaited(Document):
    """What a stage waits for: measurements of a device elsewhere."""

    model_config = ConfigDict(title="what is awaited of a device elsewhere")

    round: MeasuringRound
    archs: tuple[Arch, ...] = ()
    files: tuple[AwaitedFile, ...] = ()
    profiled_on: ProfiledOn | None = Field(default=None, exclude_if=lambda v: v is None)
    """What the machine must be; None for a profile, and where an earlier version noted it."""


class SeenDevice(Document):
    """What a device elsewhere was when it was asked last."""

    model_config = ConfigDict(title="what a device elsewhere was when it was asked last")

    location: str
    """Where it was asked."""
    card: DeviceCard


class WaitingRun(Document):
    """A run of a deployment that is suspended until a device elsewhere was measured."""

    model_config = ConfigDict(title="a run that waits for a device elsewhere")

    flow_run: str
    """Identifier on Prefect's server."""
    name: str
    """As Prefect's pages show it."""
    server: str
    """Address of the server, without secrets."""
    devices: tuple[str, ...]
    """What it waits for: any of them."""
