"""How a catalog reads a registry: what every way of reading does."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ofa_pipeline.registry.record import RegisteredSubnet

if TYPE_CHECKING:
    from ofa_pipeline.registry.parts import Part, PartTimes

Entries = Mapping[str, RegisteredSubnet]
"""By the id of their LoggedModel, the newest first."""

Made = Sequence[tuple[int, str]]
"""Versions of a registered model by number, the lowest first, each with its source."""

CHECK_EVERY_S = 1.0
"""At most so often a server is asked whether anything has changed, and rows are counted."""
WALK_EVERY_S = 60.0
"""So often everything is read again, not only what is new: not everything that somebody does to
what is there already shows."""


class Reader(Protocol):
    """Reads what is registered, and tells when that is out of date."""

    @property
    def part_times(self) -> "PartTimes":
        """How parts are read."""
        ...

    def has_changed(self) -> bool:
        """Tell whether `read` may return something else than the last time."""
        ...

    def read(self, known: Entries) -> Entries:
        """Return what is registered, the newest first; what is known is not read again."""
        ...

    def part(self, part: "Part") -> Entries | None:
        """Return what is registered of a part, the newest first; None: all is to be read."""
        ...

    def added(self, known: Entries) -> Entries | None:
        """Return what has come to what was read; None where more may have changed than that."""
        ...

    def came(self, known: Entries, model_name: str) -> Entries | None:
        """Return what has come to one registered model, found by keys alone.

        None where that does not tell. That something was deleted does not show here, so what is
        found is asked for with `still_counts`.
        """
        ...

    def made(self, model_name: str, bundle_digest: str) -> Made:
        """Ask the registry itself for the versions of a content that were made, whole or not.

        Those that were whole before may be missing.
        """
        ...

    def still_counts(self, model_id: str, subnet: RegisteredSubnet) -> bool:
        """Ask the registry itself whether a version and its LoggedModel are still there."""
        ...

    def may_hold(self, title: str) -> bool:
        """Tell whether there may be a LoggedModel of this name, complete or not."""
        ...

    def is_there(self, subnet: RegisteredSubnet) -> bool:
        """Tell whether a version that was read still exists."""
        ...

    def aliases(self, model_name: str) -> dict[str, int]:
        """Return the versions that the aliases of a registered model name."""
        ...
