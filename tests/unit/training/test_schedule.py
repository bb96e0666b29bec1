import pytest

from ofa_pipeline.training import Schedule, epochs_for


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


def test_two_parts_of_a_cosine_are_the_whole():
    whole = Schedule(epochs=5, warmup_epochs=1, learning_rate=0.4)
    first = Schedule(epochs=2, warmup_epochs=1, learning_rate=0.4, cosine=(0.0, 0.4))
    second = Schedule(epochs=3, warmup_epochs=0, learning_rate=0.4, cosine=(0.4, 1.0))
    parts = [first.at(step, steps_per_epoch=7) for step in range(21)]
    parts += [second.at(step, steps_per_epoch=7) for step in range(21)]
    assert parts == pytest.approx([whole.at(step, steps_per_epoch=7) for step in range(42)])


@pytest.mark.parametrize(
    ("epochs", "min_steps", "steps_per_epoch", "expected"),
    [(4, 0, 1, 4), (4, 400, 98, 5), (4, 400, 100, 4), (4, 400, 17, 24), (4, 400, 0, 400)],
)
def test_few_steps_an_epoch_make_more_epochs(epochs, min_steps, steps_per_epoch, expected):
    found = epochs_for(epochs, min_steps=min_steps, steps_per_epoch=steps_per_epoch)
    assert found == expected
