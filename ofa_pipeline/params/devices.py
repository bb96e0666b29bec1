"""The section `devices`: what runs the subnets, and the budgets to serve."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ofa_pipeline.errors import shown
from ofa_pipeline.params.values import Count, Few, Positive, Section, Share, part_of

AWAY = "away"
"""The location of a device that somebody carries folders to."""
_SSH = re.compile(r"ssh://(\w[\w.-]*@)?\w[\w.-]*(:\d{1,5})?")
_RAY = re.compile(r"ray://[A-Za-z][\w-]*", re.ASCII)
_MAX_PORT = 2**16 - 1
_BUILT_IN_RESOURCES = ("cpu", "gpu", "tpu", "memory", "object_store_memory")


def _is_location(value: str) -> str:
    if value != AWAY and not _SSH.fullmatch(value) and not _RAY.fullmatch(value):
        raise ValueError(
            f"must be {AWAY}, ssh://USER@HOST:PORT (USER and PORT may be left out), or "
            f"ray://RESOURCE (letters, digits, _ and -), got {shown(value)}. Leave it out for a "
            "device of this machine."
        )
    port = value.rpartition(":")[2] if value.count(":") > 1 else ""
    if port and not 0 < int(port) <= _MAX_PORT:
        raise ValueError(f"the port must be 1 to {_MAX_PORT}, got {port}")
    resource = value.removeprefix("ray://")
    if resource.lower() in _BUILT_IN_RESOURCES:
        raise ValueError(
            f"must name a resource of the device's own, such as ray://phone, but many nodes have "
            f"{resource}, which is Ray's"
        )
    return value


Location = Annotated[str, AfterValidator(_is_location)]


class RuntimeSettings(Section):
    """What runs the subnets: the runtime and its settings, and where the hardware is."""

    runtime: Annotated[str, AfterValidator(part_of("devices/runtimes"))]
    accelerator: Literal["cpu", "cuda"]
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    """Which of them a runtime computes in, it says itself."""
    threads: Count
    batch_size: Count
    """Images a call."""
    pinning: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Few] | None = Field(
        default=None, exclude_if=lambda v: v is None
    )
    """Cores that a measurement may use, ascending; None: the idlest one for one thread, and for
    several whichever the system gives."""
    options: Annotated[dict[str, bool | str], Few] | None = Field(
        default=None, exclude_if=lambda v: v is None
    )
    """Of the runtime, by its own names; which it knows, it says itself. None: its defaults here."""
    location: Location | None = Field(default=None, exclude_if=lambda v: v is None)
    """``away``, ``ssh://USER@HOST:PORT``, or ``ray://RESOURCE``, the node of the Ray cluster of
    ``compute.fan_out.address`` that offers one of it; None: this machine."""
    measured: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")] | None = Field(
        default=None, exclude_if=lambda v: v is None
    )
    """How the SHA-256 of what was measured away begins; `ofa-pipeline device import` writes it."""

    python: Annotated[str, Field(pattern=r"^[\w./~+-]+$")] | None = Field(
        default=None, exclude_if=lambda v: v is None
    )
    """What runs the measuring script over ssh or on a node, where it is not ``python3`` or the
    Python of Ray there."""

    @model_validator(mode="after")
    def _enough_cores(self) -> "RuntimeSettings":
        if self.pinning is None:
            return self
        if list(self.pinning) != sorted(set(self.pinning)) or not self.pinning:
            raise ValueError(
                f"pinning must be numbers of cores, ascending without repeats, such as [2, 3], got "
                f"{list(self.pinning)}"
            )
        if len(self.pinning) < self.threads:
            raise ValueError(
                f"pinning must name a core for each of the {self.threads} threads, got "
                f"{list(self.pinning)}. Name more, or lower threads."
            )
        return self

    @model_validator(mode="after")
    def _measured_away(self) -> "RuntimeSettings":
        if self.measured is not None and self.location != AWAY:
            raise ValueError(
                f"measured names what came from a device with location: {AWAY}, but location is "
                f"{self.location or 'this machine'}. Remove measured, or set the location."
            )
        if self.python is not None and "://" not in (self.location or ""):
            raise ValueError(
                "python names what measures over ssh or on a node, but location is "
                f"{self.location or 'this machine'}. Remove python, or set the location."
            )
        return self


class DeviceParams(Section):
    """A device and the budgets to serve on it, in milliseconds a call."""

    card: RuntimeSettings
    budgets_ms: Annotated[tuple[Positive, ...], Few] | None = None
    budget_fractions: Annotated[tuple[Share, ...], Few] | None = None

    @model_validator(mode="after")
    def _one_kind_of_budget(self) -> "DeviceParams":
        given = [v for v in (self.budgets_ms, self.budget_fractions) if v is not None]
        if len(given) != 1 or not given[0]:
            raise ValueError("give budgets_ms or budget_fractions, one of them, not empty")
        if list(given[0]) != sorted(set(given[0])):
            raise ValueError(f"budgets must be ascending without repeats, got {given[0]}")
        return self
