import pytest

from ofa_pipeline.evaluation import SubnetEvaluator
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.specialize import tuning
from ofa_pipeline.specialize.fine_tuning import PickTuner, TuningTask
from ofa_pipeline.specialize.tuning import Tuner, TuningFigures, TuningPlan
from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.training import Hooks
from tests.support.training import (
    NORMALIZATION,
    NUM_CLASSES,
    striped_images,
    tiny_recipe,
    tiny_space,
    training_images,
)


def tuner(*, epochs, has_teacher=False):
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
        epochs=epochs,
        learning_rate=0.05,
        has_teacher=has_teacher,
    )
    return Tuner(evaluator, plan=plan)


def figures(num_epochs, *, has_teacher=False):
    return TuningFigures(
        accuracy_top1_extracted=0.5,
        accuracy_top1_finetuned=0.6,
        num_epochs=num_epochs,
        num_images=16,
        has_teacher=has_teacher,
    )


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
    found = tuned(monkeypatch, accuracies)
    assert found.accuracy_top1_extracted == 0.5
    assert found.accuracy_top1_finetuned == finetuned
    assert found.num_epochs == epochs
    assert found.is_finetuned == is_finetuned
    assert found.accuracy_top1 == max(accuracies)


@pytest.mark.parametrize(("epochs", "names"), [(2, [""]), (7, [" round 1 of 2", " round 2 of 2"])])
def test_rounds_are_numbered_where_there_are_several(monkeypatch, epochs, names):
    accuracies = [0.5, 0.6, 0.7]
    monkeypatch.setattr(Tuner, "_accuracy", lambda *_: accuracies.pop(0))
    events = []
    arch = tiny_space().smallest
    tuner(epochs=epochs).tune(arch, hooks=Hooks(reporter=Reporter(events.append)))
    titles = [e.label.partition(" epoch")[0] for e in events if " epoch " in e.label]
    assert list(dict.fromkeys(titles)) == [f"finetune {arch.arch_id}{name}" for name in names]


def test_nothing_is_fine_tuned_without_rounds(monkeypatch):
    found = tuned(monkeypatch, (0.5,), epochs=0)
    assert found.accuracy_top1_finetuned is None
    assert found.accuracy_top1 == 0.5
    assert found.num_epochs == 0


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
    assert {n for n in range(9) if found.may_take(figures(n))} == ends


def test_what_another_teacher_made_is_not_taken():
    assert not tuner(epochs=4).may_take(figures(4, has_teacher=True))
    assert tuner(epochs=4, has_teacher=True).may_take(figures(4, has_teacher=True))
    before = {key: value for key, value in figures(4).model_dump().items() if key != "has_teacher"}
    assert TuningFigures(**before).has_teacher  # as in the versions that did not say so


@pytest.mark.parametrize("has_teacher", [False, True])
def test_the_largest_teaches_where_it_shall(monkeypatch, has_teacher):
    teachers = []

    def finetune(weights, teacher, **_):
        teachers.append(teacher)
        return weights

    monkeypatch.setattr(tuning, "finetune", finetune)
    found = tuner(epochs=1, has_teacher=has_teacher).tune(tiny_space().smallest)
    [teacher] = teachers
    assert found.figures.has_teacher == has_teacher == (teacher is not None)
    if teacher is not None:
        assert teacher.resolution_px == tiny_space().largest.resolution_px
