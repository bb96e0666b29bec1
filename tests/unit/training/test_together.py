"""Several ranks train the function that one process trains; here the ranks are threads."""

import dataclasses
import signal

import pytest
import torch

from ofa_pipeline.compute import ALONE, Ranks
from ofa_pipeline.errors import ParamsError, TrainingDivergedError
from ofa_pipeline.progress import Reporter
from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.training import (
    Checkpoints,
    Hooks,
    Teacher,
    build_teaching,
    deterministic,
    train_phase,
)
from ofa_pipeline.training.interrupt import StopRequest
from ofa_pipeline.training.together import Together
from tests.support.thread_ranks import on_ranks
from tests.support.training import (
    NUM_CLASSES,
    tiny_phase,
    tiny_recipe,
    tiny_space,
    training_images,
)

RECIPE = dataclasses.replace(tiny_recipe(), batch_norm_images=2, workers=1)
"""Four groups a batch."""


def new_supernet(dtype=torch.float32):
    supernet = build_supernet(tiny_space(), num_classes=NUM_CLASSES, dropout=0.1, seed=0)
    return supernet.to(dtype)


def train(ranks=ALONE, *, recipe=RECIPE, phase=None, teacher=None, dtype=torch.float32, **hooks):
    """Train a supernet; return it with its history."""
    supernet = new_supernet(dtype)
    history = train_phase(
        supernet,
        phase or tiny_phase(),
        images=training_images(16),
        recipe=recipe,
        teacher=teacher,
        hooks=Hooks(ranks=ranks, **hooks),
    )
    return supernet, history


def difference(one, other):
    """Return the largest difference of two networks' weights."""
    others = dict(other.named_parameters())
    return max(float((w - others[name]).detach().abs().max()) for name, w in one.named_parameters())


@pytest.fixture(autouse=True)
def _one_thread():
    with deterministic(threads=1):
        yield


@pytest.mark.parametrize(
    ("size", "augmentation"), [(2, "crop_flip"), (3, "crop_flip"), (2, "random_resized_crop")]
)
def test_ranks_train_what_one_process_trains(size, augmentation):
    recipe = dataclasses.replace(RECIPE, augmentation=augmentation)
    alone, history = train(recipe=recipe, dtype=torch.float64)
    found = on_ranks(size, lambda ranks: train(ranks, recipe=recipe, dtype=torch.float64))
    for supernet, of_rank in found:
        assert difference(supernet, alone) < 1e-12
        assert [r.loss for r in of_rank] == pytest.approx([r.loss for r in history], abs=1e-6)


def test_in_float32_ranks_differ_by_the_order_of_sums():
    alone, _ = train()
    for supernet, _ in on_ranks(2, train):
        assert 0 < difference(supernet, alone) <= 1e-6


def test_all_ranks_end_with_equal_bits():
    (one, _), (other, _) = on_ranks(2, train)
    assert difference(one, other) == 0


@pytest.mark.parametrize("teaching", ["previous", "in_place"])
def test_ranks_learn_from_a_teacher_as_one_process_does(teaching):
    phase = dataclasses.replace(tiny_phase(), teaching=build_teaching(teaching))
    fixed = new_supernet(torch.float64).eval()
    teacher = Teacher(lambda images: fixed(images, fixed.space.largest)[:, [1, 2, 0]])
    options = {
        "phase": phase,
        "teacher": teacher if teaching == "previous" else None,
        "dtype": torch.float64,
    }
    alone, _ = train(**options)
    for supernet, _ in on_ranks(2, lambda ranks: train(ranks, **options)):
        assert difference(supernet, alone) < 1e-12


def test_a_run_goes_on_with_another_number_of_ranks(tmp_path):
    """One rank, then two, then one: each is stopped in the middle of an epoch."""
    alone, _ = train(dtype=torch.float64)

    class EnoughError(Exception):
        pass

    def until(done):
        def say(event):
            if event.done == done:
                raise EnoughError

        return Reporter(say, interval_s=0)

    def part(ranks, reporter):
        checkpoints = Checkpoints(tmp_path, interval_s=0)
        return train(ranks, dtype=torch.float64, checkpoints=checkpoints, reporter=reporter)

    with pytest.raises(EnoughError):
        part(ALONE, until(8))
    with pytest.raises(EnoughError):
        on_ranks(2, lambda ranks: part(ranks, until(24)))
    events = []
    supernet, history = part(ALONE, Reporter(events.append, interval_s=0))
    assert events[0].done == 24  # what two ranks saved
    assert len(history) == 2
    assert difference(supernet, alone) < 1e-12


def test_more_ranks_than_groups_are_refused():
    with pytest.raises(ParamsError, match=r"makes 4 and there are 5 ranks.*fewer ranks"):
        Together(new_supernet(), RECIPE, ranks=Ranks(0, 5))


def test_groups_are_dealt_out_whole():
    parts = [Together(new_supernet(), RECIPE, ranks=Ranks(rank, 3)) for rank in range(3)]
    assert [list(part.groups) for part in parts] == [[0], [1], [2, 3]]
    assert [part.rows for part in parts] == [slice(0, 2), slice(2, 4), slice(4, 8)]


def test_a_signal_that_one_rank_gets_stops_all_at_the_same_step(tmp_path):
    """Rank 1 alone is asked; both know after the next step, and the first saves."""

    def work(ranks):
        supernet, stop = new_supernet(), StopRequest()
        checkpoints = Checkpoints(tmp_path / str(ranks.rank), interval_s=1e9)
        together = Together(supernet, RECIPE, ranks=ranks, checkpoints=checkpoints, stop=stop)
        if ranks.rank == 1:
            stop.note(signal.SIGTERM, None)
        before = together.is_save_wanted
        together.obey()  # nobody else knows yet
        together.add_up(torch.zeros(()))
        with pytest.raises(SystemExit) as caught:
            together.obey()
        return before, together.is_save_wanted, caught.value.code

    assert on_ranks(2, work) == [(False, True, 128 + signal.SIGTERM)] * 2


def test_the_clock_of_the_first_rank_decides_on_saving(tmp_path):
    def work(ranks, due):
        interval_s = 0 if ranks.rank == due else 1e9
        checkpoints = Checkpoints(tmp_path, interval_s=interval_s)
        together = Together(new_supernet(), RECIPE, ranks=ranks, checkpoints=checkpoints)
        together.add_up(torch.zeros(()))
        return together.is_save_wanted

    assert on_ranks(2, lambda ranks: work(ranks, 0)) == [True, True]
    assert on_ranks(2, lambda ranks: work(ranks, 1)) == [False, False]


def test_a_loss_that_is_not_finite_ends_all_ranks():
    phase = tiny_phase(epochs=2, learning_rate=1e30)
    with pytest.raises(TrainingDivergedError, match="the loss must be finite"):
        on_ranks(2, lambda ranks: train(ranks, phase=phase))
