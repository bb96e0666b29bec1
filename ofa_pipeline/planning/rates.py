"""How fast work is done: from rules of thumb, or measured on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ofa_pipeline.planning.machine import Machine
from ofa_pipeline.planning.work import Work

CORE_GMACS_PER_S = 6.5
"""Of a training step on one core of a server's CPU of 2023: 5 to 14 were measured with networks of
MobileNetV3 at 28 to 224 px."""
GPU_GMACS_PER_S = 1500.0
"""Of a training step on a GPU of a data center: mobile networks use a small part of one."""
_FORWARD_GAIN = 1.2
"""A multiply-accumulate of a forward pass is cheaper than one of a step."""
_MEASUREMENT_S = 0.3
_DECODE_S, _LIST_S = 0.004, 2e-5
_BUNDLE_S, _START_S = 2.0, 4.0
_SEARCH_S = 8.0
_IMPORT_S = 5.0
_MIN_GMACS_PER_S = 1e-9
_FIXED_S: Mapping[str, float] = {
    "search": _SEARCH_S,
    "import_weights": _IMPORT_S,
    "fit_predictor": 2.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Seconds and rates of this machine."""

    train_gmacs_per_s: float
    forward_gmacs_per_s: float
    """Of all cores together: subnets are evaluated side by side."""
    decode_s: float
    """Of one image, on all cores together."""
    phase_gmacs_per_s: Mapping[str, float] = field(default_factory=dict)
    """Of the phases that were measured."""
    measurement_s: Mapping[str, float] = field(default_factory=dict)
    """Of one network, by device."""
    start_s: float = _START_S
    """Of a stage, before it does anything."""

    def seconds(self, address: str, work: Work) -> float:
        """Return how long a stage takes."""
        stage, _, item = address.partition("@")
        slow = self.start_s / _START_S  # what is not measured is as slow as what starts a stage
        train = self.phase_gmacs_per_s.get(item, self.train_gmacs_per_s)
        return (
            self.start_s
            + work.train_gmacs / max(train, _MIN_GMACS_PER_S)
            + work.forward_gmacs / max(self.forward_gmacs_per_s, _MIN_GMACS_PER_S)
            + work.measurements * self.measurement_s.get(item, _MEASUREMENT_S)
            + work.images * self.decode_s
            + slow * (work.listed * _LIST_S + work.bundles * _BUNDLE_S + _FIXED_S.get(stage, 0.0))
        )


def rates_of_thumb(machine: Machine, *, decode_s: float = _DECODE_S) -> Rates:
    """Return what a machine may reach, without a measurement.

    Args:
        machine: The machine.
        decode_s: CPU seconds to decode an image.
    """
    speed = GPU_GMACS_PER_S if machine.gpu else CORE_GMACS_PER_S * machine.cores
    return Rates(
        train_gmacs_per_s=speed,
        forward_gmacs_per_s=_FORWARD_GAIN * speed,
        decode_s=decode_s / machine.cores,
    )
