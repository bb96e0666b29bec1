"""One architecture as a value."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ofa_pipeline.errors import ArchError


@dataclass(frozen=True, slots=True, kw_only=True)
class Arch:
    """One subnet: what runs, and nothing else.

    Blocks that the depth skips do not appear, so two equal values are the same network.
    """

    resolution_px: int
    """Height and width of the input images."""
    depths: tuple[int, ...]
    """Number of blocks that run in each block group."""
    kernel_sizes: tuple[int, ...]
    """One for each block that runs, in block order; ``len == sum(depths)``."""
    expand_ratios: tuple[float, ...]
    """One for each block that runs, in block order; ``len == sum(depths)``."""
    width_multipliers: tuple[float, ...] = ()
    """One for each width site; empty where width is not elastic."""

    def __post_init__(self) -> None:
        """Normalise the number types and check that the lengths agree."""
        object.__setattr__(self, "resolution_px", int(self.resolution_px))
        object.__setattr__(self, "depths", tuple(int(v) for v in self.depths))
        object.__setattr__(self, "kernel_sizes", tuple(int(v) for v in self.kernel_sizes))
        object.__setattr__(self, "expand_ratios", tuple(float(v) for v in self.expand_ratios))
        object.__setattr__(
            self, "width_multipliers", tuple(float(v) for v in self.width_multipliers)
        )
        blocks = sum(self.depths)
        for name in ("kernel_sizes", "expand_ratios"):
            found = len(self.kernel_sizes if name == "kernel_sizes" else self.expand_ratios)
            if found != blocks:
                raise ArchError(
                    f"Arch.{name} must have one entry a block that runs, {blocks} for depths "
                    f"{self.depths}, got {found}. Build architectures with SearchSpace.arch()."
                )

    @property
    def arch_id(self) -> str:
        """Ten hex digits that name this architecture within its space."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Arch":
        """Build from what `to_dict` returned.

        Raises:
            ArchError: If a key is missing or unknown, or a value is not a number.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise ArchError(f"not an architecture: {error} (got {dict(values)})") from error

    def __str__(self) -> str:
        """Return a short readable form, for example ``r28 d2-3 k3,5-3,3,7 e3,4-6,6,6``."""
        ends = np.cumsum(self.depths)
        spans = list(zip(ends - np.array(self.depths), ends, strict=True))
        kernels = "-".join(",".join(map(str, self.kernel_sizes[a:b])) for a, b in spans)
        expands = "-".join(",".join(f"{v:g}" for v in self.expand_ratios[a:b]) for a, b in spans)
        widths = "".join(f" w{w:g}" for w in self.width_multipliers)
        depths = "-".join(map(str, self.depths))
        return f"r{self.resolution_px} d{depths} k{kernels} e{expands}{widths}"
