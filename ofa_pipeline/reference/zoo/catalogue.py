"""The reference's 58 published specialized networks, as data.

Fifty come with their architecture; of the eight ResNet50D networks the reference publishes names
and figures, and their architecture is read from the `net.config` that is downloaded or imported.
"""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.errors import ArchError, suggest
from ofa_pipeline.spaces import reference_space


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedNetwork:
    """One published network: its architecture and what its authors report of it.

    Every ``published_`` figure is quoted from the reference, none is measured here.
    """

    name: str
    """The reference's name with ``-`` for ``@``, as its files are called."""
    alias: str
    supernet: str
    resolution_px: int | None
    depths: tuple[int, ...] | None
    kernel_sizes: tuple[int, ...] | None
    expand_ratios: tuple[float, ...] | None
    dropout: float | None
    num_classes: int
    published_top1: float
    """Percent, on the ImageNet validation set."""
    published_top5: float
    """Percent, on the ImageNet validation set."""
    published_macs: int
    published_num_params: int
    finetune_epochs: int
    device: str | None
    """The device that the network was searched for; None where MACs were the budget."""
    published_latency_ms: float | None
    published_batch_size: int | None

    @property
    def has_arch(self) -> bool:
        """Whether the architecture is known without a download."""
        return self.depths is not None

    @property
    def arch(self) -> Arch:
        """The architecture.

        Raises:
            ArchError: If it is only known from the network's downloaded configuration.
        """
        if (
            self.resolution_px is None
            or self.depths is None
            or self.kernel_sizes is None
            or self.expand_ratios is None
        ):
            raise ArchError(
                f"the architecture of {self.name} is not in the catalogue: it is read from its "
                f"net.config. Get that first: ofa-pipeline zoo get {self.name}"
            )
        return Arch(
            resolution_px=self.resolution_px,
            depths=self.depths,
            kernel_sizes=self.kernel_sizes,
            expand_ratios=self.expand_ratios,
        )

    @property
    def space(self) -> SearchSpace:
        """The search space of its supernet, at the network's own resolution.

        Published networks use resolutions that their supernet was not trained at (228 to
        260 px), so the resolution is the one choice that differs.
        """
        space = reference_space(self.supernet)
        if self.resolution_px is None:
            return space
        return replace(space, resolutions_px=(self.resolution_px,))


@lru_cache(maxsize=1)
def published_networks() -> tuple[PublishedNetwork, ...]:
    """Return all published networks, by name."""
    text = (files("ofa_pipeline.reference.zoo") / "catalogue.json").read_text()
    return tuple(PublishedNetwork(**_tuples(row)) for row in json.loads(text))


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def published_network(name: str) -> PublishedNetwork:
    """Return one published network by its name (with ``@`` or ``-``) or its alias.

    Raises:
        ArchError: If no published network has that name or alias; the message suggests the closest.
    """
    wanted = name.replace("@", "-")
    for network in published_networks():
        if wanted in (network.name, network.alias):
            return network
    known = [network.name for network in published_networks()]
    raise ArchError(
        f"no published network is called {name!r}.{suggest(wanted, known)} "
        "List them with: ofa-pipeline zoo list"
    )
