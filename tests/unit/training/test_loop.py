import math
import os
import signal

import pytest
import torch

from ofa_pipeline.errors import NotEnoughBatchesError, TrainingDivergedError
from ofa_pipeline.progress import Reporter
from ofa_pipeline.stopwatch import Stopwatch
from ofa_pipeline.supernet import build_supernet, extract_subnet
from ofa_pipeline.training import (
    Checkpoints,
    Hooks,
    Schedule,
    Teacher,
    deterministic,
    finetune,
    train_phase,
)
from ofa_pipeline.training.checkpoint import EpochRecord
from ofa_pipeline.training.epoch_text import describe_epoch
from tests.support.training import (
    NUM_CLASSES,
    tiny_phase,
    tiny_recipe,
    tiny_space,
    training_images,
)


def new_supernet():
    return build_supernet(tiny_space(), num_classes=NUM_CLASSES, dropout=0.1, seed=0)


def train(supernet, *, phase=None, count=32, **options):
    with deterministic(threads=1):
        return train_phase(
            supernet,
            phase or tiny_phase(),
            images=training_images(count),
            recipe=tiny_recipe(),
            **options,
        )


def assert_equal_weights(one, other):
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_the_loss_falls_on_an_easy_task():
    history = train(new_supernet(), phase=tiny_phase(epochs=8), count=64)
    assert len(history) == 8
    assert history[-1].loss < 0.85 * history[0].loss


def test_equal_seeds_give_equal_bits():
    one, other = new_supernet(), new_supernet()
    assert train(one) == train(other)
    assert_equal_weights(one, other)


def test_training_leaves_the_global_random_state_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(new_supernet())
    assert torch.equal(torch.rand(3), expected)


def test_a_teacher_is_asked_for_the_images_of_the_step():
    seen = []

    def teacher(images):
        seen.append(tuple(images.shape))
        assert not torch.is_grad_enabled()
        return torch.zeros(len(images), NUM_CLASSES)

    train(new_supernet(), teacher=Teacher(teacher))
    assert set(seen) <= {(8, 3, 8, 8), (8, 3, 12, 12)}
    assert len(seen) == 8


def test_validation_goes_into_the_history_of_each_epoch():
    figures = iter([0.1, 0.2])
    history = train(new_supernet(), hooks=Hooks(validate=lambda: {"accuracy": next(figures)}))
    assert [record.metrics for record in history] == [{"accuracy": 0.1}, {"accuracy": 0.2}]
    assert [record.epoch for record in history] == [1, 2]
    assert history[0].phase == "tiny"


def test_progress_counts_images_and_shows_the_loss():
    events = []
    train(new_supernet(), hooks=Hooks(reporter=Reporter(events.append, interval_s=0)))
    events = [event for event in events if event.total]
    assert [event.done for event in events] == list(range(8, 65, 8))
    assert events[-1].total == 64
    assert events[-1].label == "tiny"
    assert set(events[-1].metrics) == {"epoch", "loss"}


def test_each_epoch_is_a_line_with_loss_accuracy_and_rate():
    accuracies = {"accuracy_top1_largest": 0.875, "accuracy_top1_smallest": 0.5}
    events = []
    hooks = Hooks(validate=lambda: accuracies, reporter=Reporter(events.append, interval_s=0))
    history = train(new_supernet(), hooks=hooks)
    lines = [event.label for event in events if not event.total]
    assert len(lines) == 2
    begin = f"tiny epoch 2 of 2: loss {history[1].loss:.3g}, "
    assert lines[1].startswith(f"{begin}top-1 87.5 % largest and 50.0 % smallest, ")
    assert lines[1].endswith(" images/s")


def test_a_training_with_a_title_is_told_by_it():
    events = []
    hooks = Hooks(reporter=Reporter(events.append, interval_s=0), title="tiny round 2 of 3")
    history = train(new_supernet(), hooks=hooks)
    assert {event.label.partition(" epoch")[0] for event in events} == {"tiny round 2 of 3"}
    assert history[0].phase == "tiny"  # which seeds and checkpoints follow


@pytest.mark.parametrize(
    ("images_per_s", "text"), [(0.8124, "0.812"), (99.94, "99.9"), (120.7, "121"), (1219, "1,219")]
)
def test_a_speed_is_told_as_people_write_it(images_per_s, text):
    record = EpochRecord(phase="tiny", epoch=1, learning_rate=0.1, loss=1, metrics={})
    assert describe_epoch(record, 2, images_per_s=images_per_s).endswith(f", {text} images/s")


def test_a_loss_that_is_not_finite_stops_and_names_the_remedy():
    with pytest.raises(TrainingDivergedError, match=r"phases\.tiny\.learning_rate"):
        train(new_supernet(), phase=tiny_phase(learning_rate=math.inf))


def test_weights_that_are_not_finite_do_not_replace_the_last_checkpoint(tmp_path):
    supernet = new_supernet()
    checkpoints = Checkpoints(tmp_path, interval_s=0)

    def poison():
        with torch.no_grad():
            supernet.classifier.bias[0] = math.nan
        return {}

    with pytest.raises(TrainingDivergedError, match=r"classifier\.bias"):
        train(supernet, hooks=Hooks(checkpoints=checkpoints, validate=poison))
    fresh = new_supernet()  # goes on at the end of the first epoch
    train(fresh, hooks=Hooks(checkpoints=Checkpoints(tmp_path, interval_s=0)))
    assert all(bool(parameter.isfinite().all()) for parameter in fresh.parameters())


def test_fewer_images_than_a_batch_are_refused():
    with pytest.raises(NotEnoughBatchesError, match="at least one batch of 8"):
        train(new_supernet(), count=7)


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_stopped_run_goes_on_where_it_stopped(tmp_path, number, expected):
    uninterrupted = new_supernet()
    history = train(uninterrupted)

    def stop_in_second_step(event):
        if event.done == 16:
            os.kill(os.getpid(), number)

    stopped, resumed = new_supernet(), new_supernet()
    with pytest.raises(expected):
        train(
            stopped,
            hooks=Hooks(
                checkpoints=Checkpoints(tmp_path),
                reporter=Reporter(stop_in_second_step, interval_s=0),
            ),
        )
    events = []
    hooks = Hooks(checkpoints=Checkpoints(tmp_path), reporter=Reporter(events.append, interval_s=0))
    assert train(resumed, hooks=hooks) == history
    assert events[0].done == 24
    assert_equal_weights(resumed, uninterrupted)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first, second = new_supernet(), new_supernet()
    history = train(first, hooks=Hooks(checkpoints=Checkpoints(tmp_path)))
    events = []
    hooks = Hooks(checkpoints=Checkpoints(tmp_path), reporter=Reporter(events.append, interval_s=0))
    assert train(second, hooks=hooks) == history
    assert events == []
    assert_equal_weights(first, second)


def test_fine_tuning_trains_a_copy_at_its_own_resolution():
    subnet = extract_subnet(new_supernet(), tiny_space().smallest)
    before = {name: tensor.clone() for name, tensor in subnet.state_dict().items()}
    seen = []

    def teacher(images):
        seen.append(images.shape[-1])
        return torch.zeros(len(images), NUM_CLASSES)

    schedule = Schedule(epochs=1, warmup_epochs=0, learning_rate=0.01)
    tuned = finetune(
        subnet, Teacher(teacher), schedule=schedule, images=training_images(), recipe=tiny_recipe()
    )
    assert set(seen) == {8}
    assert not tuned.training
    assert not torch.equal(tuned.classifier.weight, subnet.classifier.weight)
    for name, tensor in subnet.state_dict().items():
        assert torch.equal(tensor, before[name])
    for name, buffer in tuned.named_buffers():  # several threads would race for them
        assert torch.equal(buffer, before[name])
    kinds = {name: type(module) for name, module in subnet.named_modules()}
    assert {name: type(module) for name, module in tuned.named_modules()} == kinds


def test_a_resumed_fine_tuning_adds_the_seconds_of_all_its_runs(tmp_path, monkeypatch):
    subnet = extract_subnet(new_supernet(), tiny_space().smallest)
    now = 0.0
    monkeypatch.setattr("time.process_time", lambda: now)

    def run(on_event):
        hooks = Hooks(
            checkpoints=Checkpoints(tmp_path, interval_s=0),
            reporter=Reporter(on_event, interval_s=0),
            stopwatch=Stopwatch(tmp_path / "seconds.jsonl"),
        )
        schedule = Schedule(epochs=2, warmup_epochs=0, learning_rate=0.05)
        options = {"images": training_images(), "recipe": tiny_recipe(), "hooks": hooks}
        finetune(subnet, None, schedule=schedule, **options)
        return hooks.stopwatch.seconds

    def spend(event):
        nonlocal now
        now += 1.0
        if event.done == 24:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        run(spend)
    spent = now
    assert spent > 0
    seconds = run(lambda event: None)
    assert seconds.cpu_s == spent
    assert seconds.is_complete
