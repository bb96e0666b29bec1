import pytest

from ofa_pipeline.evaluation import SubnetEvaluator
from ofa_pipeline.progress import SILENT
from ofa_pipeline.specialize.fine_tuning import PickTuner, TuningTask
from ofa_pipeline.specialize.tuning import Tuner, TuningPlan
from ofa_pipeline.supernet import build_supernet
from tests.support.training import (
    NORMALIZATION,
    NUM_CLASSES,
    striped_images,
    tiny_recipe,
    tiny_space,
    training_images,
)


def tuner(*, epochs):
    """Return what fine-tunes for so many epochs."""
    evaluator = SubnetEvaluator(
        supernet=build_supernet(tiny_space(), num_classes=NUM_CLASSES, seed=0),
        calibration=striped_images(16),
        evaluation=striped_images(16, seed=1),
        normalization=NORMALIZATION,
        batch_size=16,
        calibration_images=16,
    )
    plan = TuningPlan(
        images=training_images(16),
        recipe=tiny_recipe(),
        epochs=lambda _: epochs,
        learning_rate=0.05,
    )
    return Tuner(evaluator, plan=plan)


def tuned(monkeypatch, accuracies, *, epochs=7):
    """Tune for so many epochs, with these accuracies before and after each round."""
    waiting = list(accuracies)
    monkeypatch.setattr(Tuner, "_accuracy", lambda _, subnet: waiting.pop(0))
    found = tuner(epochs=epochs).tune(tiny_space().smallest)
    assert not waiting
    return found.figures


@pytest.mark.parametrize(
    ("accuracies", "finetuned", "epochs", "is_finetuned"),
    [
        ((0.5, 0.6, 0.7), 0.7, 7, True),
        ((0.5, 0.6, 0.6), 0.6, 7, True),
        ((0.5, 0.4), 0.4, 4, False),  # the first round gained nothing: no second
        ((0.5, 0.5), 0.5, 4, False),
    ],
)
def test_a_round_after_one_that_gains_nothing_is_left_out(
    monkeypatch, accuracies, finetuned, epochs, is_finetuned
):
    figures = tuned(monkeypatch, accuracies)
    assert figures.accuracy_top1_extracted == 0.5
    assert figures.accuracy_top1_finetuned == finetuned
    assert figures.num_epochs == epochs
    assert figures.is_finetuned == is_finetuned
    assert figures.accuracy_top1 == max(accuracies)


def test_nothing_is_fine_tuned_without_rounds(monkeypatch):
    figures = tuned(monkeypatch, (0.5,), epochs=0)
    assert figures.accuracy_top1_finetuned is None
    assert figures.accuracy_top1 == 0.5
    assert figures.num_epochs == 0


def test_what_a_rule_of_other_epochs_left_is_not_gone_on_with(tmp_path):
    def tune(epochs):
        makes = PickTuner(
            tuner(epochs=epochs), scratch=tmp_path, checkpoint_minutes=5, reporter=SILENT
        )
        return makes(TuningTask(arch=tiny_space().smallest)).tuned.figures.num_epochs

    assert [tune(epochs) for epochs in (1, 2, 2, 0)] == [1, 2, 2, 0]
    assert len(list(tmp_path.glob("finetune/*/round-1"))) == 2


@pytest.mark.parametrize(("epochs", "ends"), [(0, {0}), (4, {4}), (7, {4, 7})])
def test_a_fine_tuning_ends_with_a_round(epochs, ends):
    found = tuner(epochs=epochs)
    assert {n for n in range(9) if found.may_take(tiny_space().smallest, n)} == ends
