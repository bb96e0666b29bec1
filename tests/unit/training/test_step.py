import dataclasses

import pytest
import torch
from threadpoolctl import threadpool_limits
from torch.utils._python_dispatch import TorchDispatchMode

import ofa_pipeline.training.step as step_module
from ofa_pipeline.data.transforms import resize_normalize
from ofa_pipeline.errors import DeviceMemoryError
from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.training import Fixed, Recipe, Teacher, build_teaching, precision, training_loss
from ofa_pipeline.training.optimizer import build_optimizer
from ofa_pipeline.training.step import TrainingStep
from tests.support.training import (
    NORMALIZATION,
    NUM_CLASSES,
    tiny_phase,
    tiny_recipe,
    tiny_space,
    training_images,
)

WAITING = {
    torch.ops.aten._local_scalar_dense.default,  # item(), float(), bool(), tolist() of a scalar
    torch.ops.aten.nonzero.default,  # also an index by a mask
    torch.ops.aten.masked_select.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.repeat_interleave.Tensor,
    torch.ops.aten._unique2.default,
}
"""Operations whose result, or its shape, the host must know before it goes on."""


class NoWaiting(TorchDispatchMode):
    """Refuses what would wait for an accelerator, while the body runs in this thread."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in WAITING:
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


def gradients_of_a_step(recipe: Recipe, *, phase=None, dropout=0.1, teacher=None):
    supernet = build_supernet(tiny_space(), num_classes=NUM_CLASSES, dropout=dropout, seed=0)
    images = training_images(8)
    batch = next(iter(images.split.batches(8)))
    phase = phase or tiny_phase(per_step=3)
    with TrainingStep(supernet, phase, images=images, recipe=recipe, teacher=teacher) as step:
        loss = float(step.accumulate_gradients(batch, 0))
    return loss, {name: p.grad for name, p in supernet.named_parameters()}


def assert_equal(one, other):
    assert one[0] == other[0]
    for name, gradient in one[1].items():
        assert torch.equal(gradient, other[1][name]), name


@pytest.mark.parametrize("batch_norm_images", [None, 2])
def test_the_gradient_does_not_depend_on_the_number_of_workers(batch_norm_images):
    recipe = dataclasses.replace(tiny_recipe(), batch_norm_images=batch_norm_images)
    alone = gradients_of_a_step(dataclasses.replace(recipe, workers=1))
    assert_equal(alone, gradients_of_a_step(dataclasses.replace(recipe, workers=4)))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_gradient_does_not_depend_on_what_another_library_told_openmp(threads):
    with threadpool_limits(threads, user_api="openmp"):
        alone = gradients_of_a_step(dataclasses.replace(tiny_recipe(), workers=1))
        assert_equal(alone, gradients_of_a_step(dataclasses.replace(tiny_recipe(), workers=4)))


def test_the_teacher_does_not_depend_on_the_number_of_workers():
    teacher = build_supernet(tiny_space(), num_classes=NUM_CLASSES, seed=5).eval()

    def opinion(images):
        return teacher(images, tiny_space().largest)

    recipe = dataclasses.replace(tiny_recipe(), batch_norm_images=4)
    one, two = (
        gradients_of_a_step(dataclasses.replace(recipe, workers=count), teacher=Teacher(opinion))
        for count in (1, 2)
    )
    assert_equal(one, two)


@pytest.mark.parametrize("is_joined", [False, True])
def test_groups_of_images_have_batch_norm_statistics_of_their_own(monkeypatch, is_joined):
    # An accelerator computes all groups in one pass: the same function.
    monkeypatch.setattr("ofa_pipeline.training.step.joins_groups", lambda _: is_joined)
    space = tiny_space()
    recipe = dataclasses.replace(tiny_recipe(), augmentation="none", batch_norm_images=4)
    phase = dataclasses.replace(tiny_phase(), archs=Fixed(arch=space.largest))
    loss, gradients = gradients_of_a_step(recipe, phase=phase, dropout=0.0)

    supernet = build_supernet(space, num_classes=NUM_CLASSES, seed=0).train()
    images = training_images(8)
    batch = next(iter(images.split.batches(8)))
    pixels = (batch.images / 255 - 0.5) / 0.25
    expected = torch.zeros(())
    assert pixels.shape[-1] == space.largest.resolution_px
    for part in (slice(0, 4), slice(4, 8)):
        logits = supernet(pixels[part], space.largest)
        expected = expected + training_loss(logits, batch.labels[part], label_smoothing=0.1) / 2
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    for name, parameter in supernet.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_the_first_subnet_of_a_step_teaches_the_others_in_place():
    space = tiny_space()
    one = space.largest
    student = space.smallest

    class Pair:
        per_step = 2

        def draw(self, rng):
            return (one, student)

    recipe = dataclasses.replace(tiny_recipe(), augmentation="none", batch_norm_images=4)
    phase = dataclasses.replace(
        tiny_phase(), archs=Pair(), teaching=build_teaching("in_place"), first_share=0.75
    )
    loss, gradients = gradients_of_a_step(recipe, phase=phase, dropout=0.0)

    supernet = build_supernet(space, num_classes=NUM_CLASSES, seed=0).train()
    batch = next(iter(training_images(8).split.batches(8)))
    large, small = (
        resize_normalize(
            batch.images, resolution_px=arch.resolution_px, normalization=NORMALIZATION
        )
        for arch in (one, student)
    )
    expected = torch.zeros(())
    for part in (slice(0, 4), slice(4, 8)):
        labels = batch.labels[part]
        teacher_logits = supernet(large[part], one)
        own = training_loss(teacher_logits, labels, label_smoothing=0.1)
        taught = training_loss(
            supernet(small[part], student),
            labels,
            label_smoothing=0.1,
            teacher_logits=teacher_logits.detach(),
            distillation_weight=1.0,
        )
        expected = expected + (0.75 * own + 0.25 * taught) / 2
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    for name, parameter in supernet.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_teaching_in_place_does_not_depend_on_the_number_of_workers():
    recipe = dataclasses.replace(tiny_recipe(), batch_norm_images=2)
    archs = dataclasses.replace(tiny_phase(per_step=3).archs, sampling="sandwich")
    phase = dataclasses.replace(tiny_phase(), archs=archs, teaching=build_teaching("in_place"))
    one, four = (
        gradients_of_a_step(dataclasses.replace(recipe, workers=count), phase=phase)
        for count in (1, 4)
    )
    assert_equal(one, four)


@pytest.mark.parametrize(("teacher_px", "seen"), [(None, {8}), (12, {12})])
def test_the_teacher_sees_its_own_image_size_where_told(teacher_px, seen):
    sizes = set()

    def opinion(images):
        sizes.add(images.shape[-1])
        return torch.zeros(len(images), NUM_CLASSES)

    archs = Fixed(arch=tiny_space().smallest)
    phase = dataclasses.replace(tiny_phase(), archs=archs)
    gradients_of_a_step(tiny_recipe(), phase=phase, teacher=Teacher(opinion, teacher_px))
    assert sizes == seen


@pytest.mark.parametrize("augmentation", ["none", "crop_flip", "random_resized_crop"])
@pytest.mark.parametrize(("teaching", "loss"), [("previous", "ce_kd"), ("in_place", "alpha")])
def test_nothing_in_a_step_waits_for_the_device(augmentation, teaching, loss):
    """An accelerator computes while the next operations are launched; reading a value waits."""
    space = tiny_space()
    archs = dataclasses.replace(tiny_phase(per_step=3).archs, sampling="sandwich")
    taught = build_teaching(teaching, loss=loss)
    phase = dataclasses.replace(tiny_phase(), archs=archs, teaching=taught)
    recipe = dataclasses.replace(tiny_recipe(), augmentation=augmentation, workers=1)
    supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=0.1, seed=0)
    teacher = build_supernet(space, num_classes=NUM_CLASSES, seed=5).eval()
    images = training_images(8)
    batch = next(iter(images.split.batches(8)))
    optimizer = build_optimizer(supernet, momentum=0.9, weight_decay=1e-4)
    with TrainingStep(
        supernet,
        phase,
        images=images,
        recipe=recipe,
        teacher=Teacher(lambda views: teacher(views, space.largest)),
    ) as step:
        with NoWaiting():
            found = step.accumulate_gradients(batch, 0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        with pytest.raises(AssertionError, match="waits"), NoWaiting():
            float(found)


def test_rounding_all_weights_once_is_rounding_them_in_every_pass(monkeypatch):
    monkeypatch.setattr(precision, "mixes_precision", lambda _: True)
    in_every_pass = gradients_of_a_step(tiny_recipe())
    monkeypatch.setattr(step_module, "mixes_precision", lambda _: True)
    once = gradients_of_a_step(tiny_recipe())
    assert once[0] == in_every_pass[0]
    for name, gradient in once[1].items():
        assert gradient.dtype == torch.float32
        torch.testing.assert_close(gradient, in_every_pass[1][name], rtol=1e-2, atol=1e-4)


def test_a_batch_that_does_not_fit_the_accelerator_names_what_to_lower():
    def opinion(images):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore")

    recipe = dataclasses.replace(tiny_recipe(), batch_norm_images=4, workers=1)
    with pytest.raises(DeviceMemoryError) as caught:
        gradients_of_a_step(recipe, teacher=Teacher(opinion))
    message = str(caught.value)
    assert message.startswith("a pass over 8 images of ")
    assert (
        "in phase tiny, and does not: CUDA out of memory. Tried to allocate 20.00 GiB. " in message
    )
    for name in ("training.batch_size", "batch_norm_images: 4", "compute.training.launch"):
        assert name in message
    assert "More" not in message
