"""How a catalog reads a registry: what every way of reading does."""

from collections.abc import Mapping
from typing import Protocol

from ofa_pipeline.registry.record import RegisteredSubnet

Entries = Mapping[str, RegisteredSubnet]
"""By the id of their LoggedModel, the newest first."""

CHECK_EVERY_S = 1.0
"""At most so often a server is asked whether anything has changed, and rows are counted."""


class Reader(Protocol):
    """Reads what is registered, and tells when that is out of date."""

    def has_changed(self) -> bool:
        """Tell whether `read` may return something else than the last time."""
        ...

    def read(self, known: Entries) -> Entries:
        """Return what is registered, the newest first; what is known is not read again."""
        ...

    def is_there(self, subnet: RegisteredSubnet) -> bool:
        """Tell whether a version that was read still exists."""
        ...

    def aliases(self, model_name: str) -> dict[str, int]:
        """Return the versions that the aliases of a registered model name."""
        ...
