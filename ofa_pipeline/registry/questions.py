"""What a registry is asked for, checked before anything is looked up."""

import math
from dataclasses import dataclass, fields
from typing import Literal, TypedDict, get_args

from ofa_pipeline.documents import Quantile
from ofa_pipeline.errors import RegistryError, shown
from ofa_pipeline.registry.fields import check_device

Proof = Literal["within", "within_noise"]
"""How sure it must be that a latency is within the bound: its whole 95 % confidence interval is,
or the figure itself is."""


class OtherBounds(TypedDict, total=False):
    """Bounds beside device and latency, as keywords; each is told by `Question`."""

    quantile: Quantile
    verdict: Proof | None
    min_accuracy: float | None
    max_size_bytes: float | None
    dataset: str | None


class Bounds(OtherBounds, total=False):
    """All bounds, as keywords."""

    device: str | None
    max_latency_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The bounds that a subnet has to meet; None is no bound."""

    device: str | None = None
    """Name of a device card that it was measured on. None: every subnet on the device that it
    was picked for."""
    max_latency_ms: float | None = None
    """Upper bound of the measured `quantile`."""
    quantile: Quantile = "p50"
    verdict: Proof | None = None
    """How sure the latency must be; None: the figure itself counts."""
    min_accuracy: float | None = None
    """Lower bound of top-1 on test, fraction."""
    max_size_bytes: float | None = None
    """Upper bound of the size of the file that runs."""
    dataset: str | None = None
    """Name of a dataset, the beginning of its digest, or `ANY_DATASET`: the only one that is
    registered for the device. None: that of the workspace that asks; without a workspace, as
    `ANY_DATASET`."""

    def __post_init__(self) -> None:
        """Refuse what no subnet could ever answer.

        Raises:
            RegistryError: If a bound is no number or out of its range, a word is unknown, or an
                option has nothing that it could act on.
        """
        for name in ("max_latency_ms", "max_size_bytes"):
            self._check_bound(name, lowest_excluded=0, highest=math.inf, what="a number above 0")
        self._check_bound(
            "min_accuracy", lowest_excluded=-1, highest=1, what="a fraction from 0 to 1"
        )
        self._check_word("quantile", get_args(Quantile))
        self._check_word("verdict", (None, *get_args(Proof)))
        if self.device is not None:
            check_device(self.device)
        if self.verdict is not None and self.max_latency_ms is None:
            raise RegistryError(
                f"a verdict ({self.verdict}) compares with a latency: give max_latency_ms, too, or "
                "leave the verdict out."
            )

    def _check_bound(self, name: str, *, lowest_excluded: float, highest: float, what: str) -> None:
        bound = getattr(self, name)
        if bound is None:
            return
        if math.isnan(bound):
            raise RegistryError(f"{name} must be a number, got {bound}.")
        is_below = bound <= lowest_excluded or (lowest_excluded < 0 and bound < 0)
        if is_below or bound > highest:
            raise RegistryError(f"{name} must be {what}, got {bound:g}.")

    def _check_word(self, name: str, known: tuple[str | None, ...]) -> None:
        word = getattr(self, name)
        if word not in known:
            names = ", ".join(item for item in known if item)
            raise RegistryError(f"{name} must be one of {names}, got {shown(word)}.")

    @property
    def text(self) -> str:
        """The bounds in words, as messages have them."""
        bounds = []
        if self.max_latency_ms is not None:
            figure = "latency_ms" if self.quantile == "p50" else "latency_p95_ms"
            sure = " with 95 % confidence" if self.verdict == "within" else ""
            place = f" on {self.device}" if self.device else ""
            bounds.append(f"{figure} <= {self.max_latency_ms:g}{place}{sure}")
        if self.min_accuracy is not None:
            bounds.append(f"accuracy_top1 >= {self.min_accuracy:g}")
        if self.max_size_bytes is not None:
            bounds.append(f"size <= {self.max_size_bytes / 1e6:g} MB")
        return " and ".join(bounds)

    def to_dict(self) -> dict[str, object]:
        """Return what was asked, ready for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
