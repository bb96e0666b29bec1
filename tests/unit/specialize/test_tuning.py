import pytest

from ofa_pipeline.evaluation import SubnetEvaluator
from ofa_pipeline.specialize.tuning import Tuner, TuningPlan, tuning_rounds
from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.training import Schedule
from tests.support.training import (
    NORMALIZATION,
    NUM_CLASSES,
    striped_images,
    tiny_recipe,
    tiny_space,
    training_images,
)


@pytest.mark.parametrize(
    ("epochs", "lengths"), [(0, []), (1, [1]), (4, [4]), (5, [5]), (6, [2, 4]), (25, [8, 17])]
)
def test_enough_epochs_are_a_short_round_and_the_rest(epochs, lengths):
    rounds = tuning_rounds(epochs, 0.3)
    assert [schedule.total_epochs for schedule in rounds] == lengths
    assert all(schedule.at(0, steps_per_epoch=3) == 0.3 for schedule in rounds)


def tuned(monkeypatch, accuracies, *, num_rounds=3):
    """Tune in rounds of one epoch, with these accuracies before and after each of them."""
    evaluator = SubnetEvaluator(
        supernet=build_supernet(tiny_space(), num_classes=NUM_CLASSES, seed=0),
        calibration=striped_images(16),
        evaluation=striped_images(16, seed=1),
        normalization=NORMALIZATION,
        batch_size=16,
        calibration_images=16,
    )
    schedule = Schedule(epochs=1, warmup_epochs=0, learning_rate=0.05)
    rounds = (schedule,) * num_rounds
    plan = TuningPlan(images=training_images(16), recipe=tiny_recipe(), rounds=rounds)
    waiting = list(accuracies)
    monkeypatch.setattr(Tuner, "_accuracy", lambda _, subnet: waiting.pop(0))
    found = Tuner(evaluator, plan=plan).tune(tiny_space().smallest)
    assert not waiting
    return found.figures


@pytest.mark.parametrize(
    ("accuracies", "finetuned", "epochs", "is_finetuned"),
    [
        ((0.5, 0.6, 0.7, 0.8), 0.8, 3, True),
        ((0.5, 0.6, 0.6), 0.6, 2, True),  # the second round gained nothing: no third
        ((0.5, 0.4), 0.4, 1, False),
        ((0.5, 0.5), 0.5, 1, False),
    ],
)
def test_rounds_after_one_that_gains_nothing_are_left_out(
    monkeypatch, accuracies, finetuned, epochs, is_finetuned
):
    figures = tuned(monkeypatch, accuracies)
    assert figures.accuracy_top1_extracted == 0.5
    assert figures.accuracy_top1_finetuned == finetuned
    assert figures.num_epochs == epochs
    assert figures.is_finetuned == is_finetuned
    assert figures.accuracy_top1 == max(accuracies)


def test_nothing_is_fine_tuned_without_rounds(monkeypatch):
    figures = tuned(monkeypatch, (0.5,), num_rounds=0)
    assert figures.accuracy_top1_finetuned is None
    assert figures.accuracy_top1 == 0.5
    assert figures.num_epochs == 0
