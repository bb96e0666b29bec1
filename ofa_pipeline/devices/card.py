"""Device cards: what runs a network, precisely enough that a latency means something."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ofa_pipeline.errors import DeviceError


class DeviceSettings(Protocol):
    """What params.yaml says of a device: the runtime and its settings."""

    @property
    def runtime(self) -> str:
        """Name of a file in ``devices/runtimes``."""

    @property
    def accelerator(self) -> str:
        """One that the runtime computes on: ``cpu`` or ``cuda``."""

    @property
    def precision(self) -> str:
        """One that the runtime computes in, such as ``fp32``."""

    @property
    def threads(self) -> int:
        """CPU threads that one call computes with."""

    @property
    def batch_size(self) -> int:
        """Images a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCard:
    """A device: settings, hardware and versions; no host name, no clock.

    Latencies of equal cards may be compared, others not.
    """

    runtime: str
    runtime_version: str
    accelerator: str
    hardware: str
    """Model of the processor, or of the GPU."""
    precision: str
    threads: int
    batch_size: int

    @property
    def fingerprint(self) -> str:
        """Ten hex digits that change with any of the fields."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DeviceCard":
        """Build from what `to_dict` returned.

        Raises:
            DeviceError: If a key is missing or unknown.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise DeviceError(f"not a device card: {error} (got {dict(values)})") from error

    def differences(self, other: "DeviceCard") -> tuple[str, ...]:
        """Say in which fields another card differs, one text a field."""
        mine, theirs = asdict(self), asdict(other)
        return tuple(
            f"{name} {mine[name]} against {theirs[name]}"
            for name in mine
            if mine[name] != theirs[name]
        )
