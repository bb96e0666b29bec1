"""Verdicts, and what happens when a measurement does not settle them."""

import pytest

from ofa_pipeline.specialize import Certifier
from tests.support.documents import measurement


def certifier(*pairs):
    """Return a certifier that measures these medians and interval ends, one after the other."""
    waiting = [measurement(p50).model_copy(update={"ci_high_ms": high}) for p50, high in pairs]
    return Certifier(lambda: waiting.pop(0))


def test_clear_measurement_is_made_once():
    found = certifier((0.9, 0.95))
    assert found.meets(1.0)
    assert found.certificate.attempts_p50_ms == (0.9,)
    assert found.certificate.verdict(1.0) == "within"


def test_noisy_measurement_is_repeated_and_the_middle_one_counts():
    found = certifier((1.2, 1.3), (0.9, 0.95), (0.92, 0.96))
    assert found.meets(1.0)
    assert found.certificate.measurement.p50_ms == 0.92
    assert found.certificate.attempts_p50_ms == (1.2, 0.9, 0.92)


def test_one_lucky_measurement_is_not_enough():
    found = certifier((1.2, 1.3), (0.9, 0.95), (1.1, 1.2))
    assert not found.meets(1.0)
    assert found.certificate.verdict(1.0) == "over"


def test_median_within_an_interval_that_reaches_over_is_within_noise():
    found = certifier((0.99, 1.01), (0.98, 1.01), (0.99, 1.02))
    assert found.meets(1.0)
    assert found.certificate.verdict(1.0) == "within_noise"


def test_second_budget_uses_the_same_measurements():
    found = certifier((1.2, 1.3), (1.2, 1.3), (1.2, 1.3))
    assert not found.meets(1.0)
    assert found.meets(2.0)
    assert not found.meets(1.1)


@pytest.mark.parametrize(
    ("budget_ms", "verdict"), [(0.9, "over"), (1, "within_noise"), (2, "within")]
)
def test_verdict_compares_median_and_interval(budget_ms, verdict):
    assert certifier((1.0, 1.1)).certificate.verdict(budget_ms) == verdict
