"""Whether a device still is as fast as its certificates say: some files, measured once more."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.documents import LatencyMeasurement
from ofa_pipeline.errors import DeviceError, MachineBusyError

LEAST_SHIFT = 0.02
"""Smaller changes, as a fraction, concern nobody, however surely they are seen."""
SCALE_NOISE = 0.10
"""Speed of a quiet machine from hour to hour, as a fraction: clocks, neighbors, temperature."""
_CHI_SQUARE_999 = {1: 10.83, 2: 13.82}
"""99.9 % quantiles of chi-square by degrees of freedom: one false alarm in a thousand nights."""
_NORMAL_975 = 1.960


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A file that was certified, measured again."""

    name: str
    certified: LatencyMeasurement
    measured: LatencyMeasurement
    """On the same scale: ratios to the reference network, times the same latency of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How latencies now follow from the certified ones: ``intercept_ms + slope * certified``."""

    slope: float
    intercept_ms: float
    largest_shift: float
    """Of a canary by that map, as a fraction of what was certified; with its sign."""
    chi_square: float
    """Of the map against no change; 13.8 (one canary: 10.8) is exceeded once in a thousand."""
    speed: float
    """Latency of the reference network now over that of then, each on a quiet machine."""
    num_canaries: int

    @property
    def has_moved(self) -> bool:
        """Whether the device is another one than was certified, beyond the noise."""
        limit = _CHI_SQUARE_999[min(self.num_canaries, 2)]
        is_map_moved = self.chi_square > limit and abs(self.largest_shift) > LEAST_SHIFT
        return is_map_moved or abs(math.log(self.speed)) > math.log1p(SCALE_NOISE)


def fit_drift(canaries: Sequence[Canary], *, noise_cv: float) -> Drift:
    """Fit the affine map from certified latencies to those of now, weighted by their noise.

    Latencies are ratios to a reference network, which does not show that the whole machine has
    become slower; so the reference network itself is compared, too, by its fastest tenth. Only what
    was measured while the machine was quiet counts.

    Args:
        canaries: At least one. With one, the map is a factor.
        noise_cv: Standard deviation of repeated measurements over their mean.

    Raises:
        DeviceError: If there is none.
        MachineBusyError: If the machine was quiet for fewer than half of them: what is left may
            have been measured in a pause of other work, on caches that this has filled.
    """
    if not canaries:
        raise DeviceError("at least one certified file must be measured again, got none")
    quiet = [canary for canary in canaries if not canary.measured.is_contended]
    if 2 * len(quiet) < len(canaries):
        raise MachineBusyError(
            "the machine must be quiet for some seconds to compare it with what was certified, but "
            f"{f'was so for {len(quiet)} of {len(canaries)} files only' if quiet else 'never was'}."
        )
    canaries = quiet
    certified = np.array([canary.certified.p50_ms for canary in canaries])
    measured = np.array([canary.measured.p50_ms for canary in canaries])
    variance = np.array([_variance(canary, noise_cv) for canary in canaries])
    columns = [certified] if len(canaries) == 1 else [np.ones_like(certified), certified]
    design = np.stack(columns, axis=1)
    # A ridge far below the noise: canaries of equal latency tell no slope.
    information = (design.T / variance) @ design + 1e-12 * np.eye(len(columns))
    change = np.linalg.solve(information, (design.T / variance) @ (measured - certified))
    shifts = (design @ change) / certified
    speeds = [c.measured.reference_p10_ms / c.certified.reference_p10_ms for c in canaries]
    return Drift(
        slope=1 + float(change[-1]),
        intercept_ms=float(change[0]) if len(columns) > 1 else 0.0,
        largest_shift=float(shifts[np.abs(shifts).argmax()]),
        chi_square=float(change @ information @ change),
        speed=float(np.median(speeds)),
        num_canaries=len(canaries),
    )


def _variance(canary: Canary, noise_cv: float) -> float:
    """Return the variance of a difference of two measurements of one file, in ms squared."""
    errors = [
        (found.ci_high_ms - found.ci_low_ms) / 2 / _NORMAL_975
        for found in (canary.certified, canary.measured)
    ]
    between = 2 * (noise_cv * canary.certified.p50_ms) ** 2
    return sum(error**2 for error in errors) + between
