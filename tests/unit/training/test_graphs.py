"""Recorded parts compute what a step computes; here a recording runs its function again."""

import dataclasses

import pytest
import torch

from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.training import (
    Fixed,
    LargestOnly,
    Teacher,
    build_teaching,
    graphs,
    precision,
    step,
)
from ofa_pipeline.training.graphs import recurring_archs
from ofa_pipeline.training.step import TrainingStep
from tests.support.training import (
    NUM_CLASSES,
    tiny_phase,
    tiny_recipe,
    tiny_space,
    training_images,
)

RECIPE = dataclasses.replace(tiny_recipe(), batch_norm_images=4, workers=1)


class Rerun:
    """Records on the CPU: what is launched is the function itself."""

    made = 0

    def __init__(self, device):
        self.generator = torch.Generator(device)

    def warm_up(self, function):
        return function()

    def record(self, function):
        Rerun.made += 1
        return function


@pytest.fixture
def _recorded(monkeypatch):
    monkeypatch.setattr(step, "records_graphs", lambda _: True)
    monkeypatch.setattr(graphs, "Recorder", Rerun)
    monkeypatch.setattr(Rerun, "made", 0)


@pytest.fixture(autouse=True)
def _joined(monkeypatch):
    monkeypatch.setattr(step, "joins_groups", lambda _: True)


def sandwich(**changes):
    archs = dataclasses.replace(tiny_phase(per_step=4).archs, sampling="sandwich")
    return dataclasses.replace(tiny_phase(), archs=archs, **changes)


def learned(phase, *, teacher=None, steps=3, dropout=0.1, device="cpu"):
    """Return losses and summed gradients of some steps in float64."""
    supernet = build_supernet(tiny_space(), num_classes=NUM_CLASSES, dropout=dropout, seed=0)
    images = training_images(8)
    batch = next(iter(images.split.batches(8)))
    with TrainingStep(
        supernet.double().to(device), phase, images=images, recipe=RECIPE, teacher=teacher
    ) as training:
        losses = [float(training.accumulate_gradients(batch, number)) for number in range(steps)]
    return losses, [parameter.grad for parameter in supernet.parameters()]


def assert_close(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    for one, other in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("teaching", ["previous", "in_place"])
def test_recorded_parts_learn_what_the_step_learns(teaching, request):
    phase = sandwich(teaching=build_teaching(teaching), first_share=0.5)
    expected = learned(phase)
    request.getfixturevalue("_recorded")
    assert_close(learned(phase), expected)
    assert 2 < Rerun.made <= 2 + 2 * 2  # both ends; random ones by image size and by teacher


@pytest.mark.parametrize("resolution", ["subnet", "step"])
@pytest.mark.parametrize("loss", ["kd", "alpha"])
def test_recorded_parts_are_regularized_and_ramped_as_the_step_is(loss, resolution, request):
    phase = sandwich(
        teaching=build_teaching("in_place", loss=loss),
        largest_only=LargestOnly(dropout=0.3, drop_connect=0.5, label_smoothing=0.2),
        ramp_steps=3,
    )
    archs = dataclasses.replace(phase.archs, resolution=resolution)
    phase = dataclasses.replace(phase, archs=archs)
    expected = learned(phase, steps=4)
    request.getfixturevalue("_recorded")
    assert_close(learned(phase, steps=4), expected)
    assert Rerun.made


def test_recorded_parts_learn_from_a_teacher(request):
    fixed = build_supernet(tiny_space(), num_classes=NUM_CLASSES, seed=5).double().eval()
    teacher = Teacher(lambda images: fixed(images, tiny_space().largest))
    expected = learned(tiny_phase(per_step=2), teacher=teacher)
    request.getfixturevalue("_recorded")
    assert_close(learned(tiny_phase(per_step=2), teacher=teacher), expected)


def test_one_architecture_alone_is_one_recording(request):
    phase = dataclasses.replace(tiny_phase(), archs=Fixed(arch=tiny_space().smallest))
    expected = learned(phase)
    request.getfixturevalue("_recorded")
    found = learned(phase)
    assert found[0] == expected[0]
    assert all(torch.equal(*pair) for pair in zip(found[1], expected[1], strict=True))
    assert Rerun.made == 1


@pytest.mark.usefixtures("_recorded")
def test_large_images_are_not_recorded(monkeypatch):
    monkeypatch.setattr(graphs, "LARGEST_PX", 11)  # the space has 8 and 12
    assert len(learned(sandwich())[0]) == 3
    assert 0 < Rerun.made <= 2


def test_the_ends_of_a_sandwich_are_in_every_step():
    space = tiny_space()
    assert recurring_archs(sandwich().archs) == {space.largest, space.smallest}
    assert recurring_archs(tiny_phase(per_step=2).archs) == set()
    assert recurring_archs(Fixed(arch=space.smallest)) == {space.smallest}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_graph_computes_what_is_launched(monkeypatch):
    phase = sandwich(teaching=build_teaching("in_place"))
    for module in (precision, step):
        monkeypatch.setattr(module, "mixes_precision", lambda _: False)
    found = learned(phase, device="cuda")
    monkeypatch.setattr(step, "records_graphs", lambda _: False)
    assert_close(found, learned(phase, device="cuda"))
