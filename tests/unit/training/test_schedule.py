import pytest

from ofa_pipeline.training import Schedule


def test_the_rate_rises_linearly_to_its_peak_and_falls_to_zero():
    schedule = Schedule(epochs=2, warmup_epochs=1, learning_rate=0.4)
    rates = [schedule.at(step, steps_per_epoch=4) for step in range(12)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rates[4] == pytest.approx(0.4)
    assert rates[8] == pytest.approx(0.2)
    assert rates == sorted(rates[:4]) + sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.02


def test_without_warm_up_the_first_step_has_the_full_rate():
    schedule = Schedule(epochs=1, warmup_epochs=0, learning_rate=0.1)
    assert schedule.at(0, steps_per_epoch=10) == pytest.approx(0.1)
    assert schedule.total_epochs == 1
