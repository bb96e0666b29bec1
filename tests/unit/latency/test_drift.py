"""A device that changed is told from one that is only noisy."""

import numpy as np
import pytest

from ofa_pipeline.errors import DeviceError, MachineBusyError
from ofa_pipeline.latency import Canary, fit_drift
from tests.support.documents import measurement

NOISE = 0.01


def canary(certified_ms, measured_ms, *, speed=1.0, is_contended=False):
    certified, measured = measurement(certified_ms), measurement(measured_ms)
    changes = {
        "reference_p10_ms": speed * certified.reference_p10_ms,
        "is_contended": is_contended,
    }
    return Canary(
        name=f"{certified_ms:g}", certified=certified, measured=measured.model_copy(update=changes)
    )


def drift(change, *, certified=(0.1, 0.2, 0.4), **values):
    return fit_drift([canary(ms, change(ms), **values) for ms in certified], noise_cv=NOISE)


def test_map_is_found():
    found = drift(lambda ms: 0.05 + 1.5 * ms)
    assert found.slope == pytest.approx(1.5)
    assert found.intercept_ms == pytest.approx(0.05)
    assert found.largest_shift == pytest.approx(1.0)
    assert found.has_moved


def test_noise_alone_moves_nothing():
    draw = np.random.default_rng(0)
    moved = 0
    for _ in range(300):
        scale = NOISE * np.sqrt(2)
        found = drift(lambda ms: ms * (1 + scale * draw.standard_normal()))  # noqa: B023
        moved += found.has_moved
    assert moved <= 3


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_one_canary_tells_a_factor(factor):
    found = drift(lambda ms: factor * ms, certified=(0.3,))
    assert (found.slope, found.intercept_ms) == (pytest.approx(factor), 0.0)
    assert found.has_moved
    assert not drift(lambda ms: 1.005 * ms, certified=(0.3,)).has_moved


def test_canaries_of_equal_latency_are_no_failure():
    assert drift(lambda ms: 1.3 * ms, certified=(0.2, 0.2)).has_moved
    assert not drift(lambda ms: ms, certified=(0.2, 0.2)).has_moved


@pytest.mark.parametrize(("speed", "has_moved"), [(1.05, False), (1.3, True), (0.7, True)])
def test_machine_that_is_slower_as_a_whole_shows_in_its_reference_network(speed, has_moved):
    found = drift(lambda ms: ms, speed=speed)
    assert found.speed == pytest.approx(speed)
    assert found.has_moved is has_moved


def test_nothing_is_concluded_from_nothing_or_from_a_busy_machine():
    with pytest.raises(DeviceError, match="at least one"):
        fit_drift([], noise_cv=NOISE)
    with pytest.raises(MachineBusyError, match="quiet"):
        drift(lambda ms: 2 * ms, is_contended=True)


def test_what_was_measured_beside_the_work_of_others_does_not_count():
    quiet = [canary(ms, 1.001 * ms) for ms in (0.1, 0.4)]
    busy = canary(0.2, 0.5, speed=2.0, is_contended=True)
    found = fit_drift([*quiet, busy], noise_cv=NOISE)
    assert found == fit_drift(quiet, noise_cv=NOISE)
    assert not found.has_moved


@pytest.mark.parametrize(("num_quiet", "num_busy"), [(1, 2), (1, 4), (2, 3)])
def test_a_pause_of_other_work_is_not_a_quiet_machine(num_quiet, num_busy):
    slow = [canary(0.1 + ms / 10, 0.1 + ms / 10, speed=1.2) for ms in range(num_quiet)]
    busy = [canary(0.3, 0.5, speed=2.0, is_contended=True)] * num_busy
    with pytest.raises(MachineBusyError, match=f"for {num_quiet} of {num_quiet + num_busy} files"):
        fit_drift([*slow, *busy], noise_cv=NOISE)
    assert fit_drift([*slow, *busy[:num_quiet]], noise_cv=NOISE).has_moved
