"""Parts of a registry: what has to be read for one question, and no more.

A server takes milliseconds for each record that it gives, a database a tenth of one. A process that
asks once, as every command does, need not wait for the records of all other devices.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from ofa_pipeline.registry.fields import (
    DIGEST_TAG,
    MODEL_TAG,
    RECORD_TAG,
    VERSION_TAG,
    check_device,
)
from ofa_pipeline.registry.reading import Entries
from ofa_pipeline.registry.record import RegisteredSubnet

LARGE_PART = 2000
"""A part that holds more subnets than this is given up: reading all pays."""
_PLAIN = re.compile(r"[^'\"`\\]*")
"""What a filter of MLflow can quote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Conditions on what is registered that must all hold; None is no condition."""

    device: str | None = None
    """Name of a device that it was measured on."""
    model_name: str | None = None
    """Its registered model."""
    version: str | None = None
    """Its number, in digits."""
    bundle_digest: str | None = None
    """Its content."""

    @property
    def record_pattern(self) -> str | None:
        """What texts of records that name the device are LIKE; None where that cannot tell.

        Metrics cannot: MLflow removes those of a LoggedModel with the run that wrote them.

        Raises:
            RegistryError: If the device is no name.
        """
        if self.device is None:
            return None
        check_device(self.device)
        return f'%"{self.device}"%' if self.device.isascii() else None  # others are escaped

    def holds(self, subnet: RegisteredSubnet) -> bool:
        """Tell whether a subnet was measured on the device, whatever its text is like."""
        return self.device in (None, *subnet.record.latency)

    @property
    def filters(self) -> list[str] | None:
        """The conditions as filters of MLflow on LoggedModels; None where it cannot express them.

        Raises:
            RegistryError: If the device is no name.
        """
        tags = [
            (MODEL_TAG, self.model_name),
            (VERSION_TAG, self.version),
            (DIGEST_TAG, self.bundle_digest),
        ]
        if not all(_PLAIN.fullmatch(value or "") for _, value in tags):
            return None
        found = [f"tags.`{tag}` = '{value}'" for tag, value in tags if value is not None]
        if self.device is not None:
            pattern = self.record_pattern
            if pattern is None:
                return None
            found.append(f"tags.`{RECORD_TAG}` LIKE '{pattern}'")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTimes:
    """How parts of a registry are read."""

    hold_s: float
    """A change may stay unseen for so long."""
    spend_s: float
    """Whoever has spent so long on parts asks often: from then on all is read, and kept current."""


class Parts:
    """What was read of a registry for single questions."""

    def __init__(self, read: Callable[[Part], Entries | None], times: PartTimes) -> None:
        """Read nothing yet.

        Args:
            read: Reads a part; None where all has to be read instead.
            times: How long a part is held, and parts are read.
        """
        self._read = read
        self._times = times
        self._held: dict[Part, tuple[float, Entries]] = {}
        self._spent_s = 0.0

    def entries(self, part: Part) -> Entries | None:
        """Return what is registered of a part, the newest first; None: all has to be read.

        Raises:
            RegistryError: If the registry cannot be read.
        """
        begin = time.monotonic()
        read_at, held = self._held.get(part, (-float("inf"), {}))
        if begin - read_at < self._times.hold_s:
            return held
        if self._spent_s > self._times.spend_s:
            return None
        found = self._read(part)
        self._spent_s += time.monotonic() - begin
        if found is not None:
            self._held[part] = begin, found
        return found

    def forget(self) -> None:
        """Read each part anew when it is next asked for."""
        self._held.clear()
