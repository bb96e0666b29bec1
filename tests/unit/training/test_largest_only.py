"""What only the largest subnet of a step has, the ramp of the others, and the clipped gradient."""

import dataclasses

import numpy as np
import pytest
import torch

from ofa_pipeline.data.transforms import resize_normalize
from ofa_pipeline.errors import CheckpointError
from ofa_pipeline.spaces import resnet50
from ofa_pipeline.supernet import build_supernet, zero_last_scales
from ofa_pipeline.training import (
    Checkpoints,
    Hooks,
    LargestOnly,
    build_teaching,
    deterministic,
    train_phase,
    training_loss,
)
from ofa_pipeline.training.distillation import build_distillation
from ofa_pipeline.training.step import TrainingStep
from tests.support.thread_ranks import on_ranks
from tests.support.training import (
    NORMALIZATION,
    NUM_CLASSES,
    tiny_phase,
    tiny_recipe,
    tiny_space,
    training_images,
)

SPACE = tiny_space()


class Ends:
    """The largest and the smallest in each step."""

    per_step = 2

    def draw(self, rng):
        return (SPACE.largest, SPACE.smallest)


def sandwich(**changes):
    archs = dataclasses.replace(tiny_phase(per_step=3).archs, sampling="sandwich")
    return dataclasses.replace(
        tiny_phase(), archs=archs, teaching=build_teaching("in_place"), **changes
    )


def gradients_of(phase, *, dropout=0.0, recipe=None, number=0):
    supernet = build_supernet(SPACE, num_classes=NUM_CLASSES, dropout=dropout, seed=0)
    images = training_images(8)
    batch = next(iter(images.split.batches(8)))
    recipe = recipe or dataclasses.replace(tiny_recipe(), augmentation="none")
    with TrainingStep(supernet, phase, images=images, recipe=recipe, teacher=None) as step:
        loss = step.accumulate_gradients(batch, number)
    return loss, {name: p.grad for name, p in supernet.named_parameters()}


def view(batch, arch):
    return resize_normalize(
        batch.images, resolution_px=arch.resolution_px, normalization=NORMALIZATION
    )


@pytest.mark.parametrize("loss", ["kd", "alpha"])
def test_small_subnets_learn_from_the_detached_logits_of_the_largest_alone(loss):
    phase = dataclasses.replace(
        tiny_phase(), archs=Ends(), teaching=build_teaching("in_place", loss=loss)
    )
    found, gradients = gradients_of(
        dataclasses.replace(phase, largest_only=LargestOnly(label_smoothing=0.1))
    )
    supernet = build_supernet(SPACE, num_classes=NUM_CLASSES, seed=0).train()
    batch = next(iter(training_images(8).split.batches(8)))
    teacher = supernet(view(batch, SPACE.largest), SPACE.largest)
    student = supernet(view(batch, SPACE.smallest), SPACE.smallest)
    own = training_loss(teacher, batch.labels, label_smoothing=0.1)
    taught = build_distillation(loss)(student, teacher.detach())
    expected = (own + taught) / 2
    expected.backward()
    assert found == pytest.approx(float(expected.detach()), rel=1e-5)
    for name, parameter in supernet.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_labels_do_not_reach_who_learns_from_the_teacher_alone():
    """Another smoothing of the labels leaves the gradient of the smallest as it was."""
    phase = dataclasses.replace(
        tiny_phase(),
        archs=Ends(),
        teaching=build_teaching("in_place", loss="alpha"),
        first_share=1e-9,
    )
    smoothed = dataclasses.replace(phase, largest_only=LargestOnly(label_smoothing=0.5))
    _, one = gradients_of(phase)
    _, other = gradients_of(smoothed)
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], rtol=0, atol=1e-7)


def test_what_is_given_is_the_largest_ones_and_the_rest_stays():
    recipe = tiny_recipe()
    given = LargestOnly(dropout=0.3, drop_connect=0.2, label_smoothing=0.05)
    phase = dataclasses.replace(tiny_phase(), largest_only=given)
    first, second = phase.regularization(0, recipe), phase.regularization(1, recipe)
    assert (first.dropout, first.drop_connect, first.label_smoothing) == (0.3, 0.2, 0.05)
    assert (second.dropout, second.drop_connect, second.label_smoothing) == (0.0, 0.0, 0.0)
    part = dataclasses.replace(phase, largest_only=LargestOnly(drop_connect=0.2))
    assert part.regularization(1, recipe).dropout is None  # the network's own
    assert part.regularization(1, recipe).label_smoothing == recipe.label_smoothing
    assert tiny_phase().regularization(0, recipe).label_smoothing == recipe.label_smoothing


@pytest.mark.parametrize("given", [LargestOnly(dropout=0.9), LargestOnly(drop_connect=0.9)])
def test_only_the_largest_is_regularized(given):
    """Shares of nearly 0 and 1 tell the gradients of the two subnets apart."""
    small = dataclasses.replace(tiny_phase(), archs=Ends(), first_share=1e-9)
    large = dataclasses.replace(small, first_share=1 - 1e-9)
    _, with_it = gradients_of(dataclasses.replace(small, largest_only=given))
    _, without = gradients_of(small)
    for name, gradient in with_it.items():
        torch.testing.assert_close(gradient, without[name], rtol=0, atol=1e-6)
    _, with_it = gradients_of(dataclasses.replace(large, largest_only=given))
    _, without = gradients_of(large)
    assert max(float((g - without[n]).abs().max()) for n, g in with_it.items()) > 1e-3


def test_the_network_s_own_dropout_gives_way():
    phase = dataclasses.replace(tiny_phase(), archs=Ends(), largest_only=LargestOnly(dropout=0.0))
    one, other = gradients_of(phase, dropout=0.9), gradients_of(phase, dropout=0.0)
    assert one[0] == other[0]


def test_ranks_draw_what_one_process_draws():
    given = LargestOnly(dropout=0.3, drop_connect=0.5, label_smoothing=0.1)
    phase = dataclasses.replace(
        sandwich(largest_only=given, clip_value=0.01),
        teaching=build_teaching("in_place", loss="alpha"),
    )
    recipe = dataclasses.replace(tiny_recipe(), batch_norm_images=2, workers=1)

    def train(ranks):
        supernet = build_supernet(SPACE, num_classes=NUM_CLASSES, dropout=0.1, seed=0).double()
        train_phase(
            supernet,
            phase,
            images=training_images(16),
            recipe=recipe,
            hooks=Hooks(ranks=ranks),
        )
        return supernet

    with deterministic(threads=1):
        alone = train(Hooks().ranks)
        for found in on_ranks(2, train):
            for name, weight in found.named_parameters():
                torch.testing.assert_close(
                    weight, dict(alone.named_parameters())[name], rtol=0, atol=1e-12
                )


def test_the_others_come_to_count_over_the_ramp():
    phase = dataclasses.replace(tiny_phase(), first_share=0.5, ramp_steps=4)
    assert phase.shares(3, number=0) == (0.5, 0.0625, 0.0625)
    assert phase.shares(3, number=1) == (0.5, 0.125, 0.125)
    assert phase.shares(3, number=3) == phase.shares(3, number=100) == (0.5, 0.25, 0.25)
    equal = dataclasses.replace(tiny_phase(), ramp_steps=2)
    assert equal.shares(4, number=0) == (0.25, 0.125, 0.125, 0.125)


def test_entries_of_the_gradient_are_clipped_by_value():
    """Without momentum and decay one step at rate 1 is minus the clipped gradient."""
    recipe = dataclasses.replace(tiny_recipe(), momentum=0.0, weight_decay=0.0, augmentation="none")
    clip = 1e-3
    phase = dataclasses.replace(tiny_phase(epochs=1, learning_rate=1.0), archs=Ends())
    schedule = dataclasses.replace(phase.schedule, cosine=(0.0, 1.0))
    phase = dataclasses.replace(phase, schedule=schedule, clip_value=clip)
    before = build_supernet(SPACE, num_classes=NUM_CLASSES, seed=0)
    after = build_supernet(SPACE, num_classes=NUM_CLASSES, seed=0)
    with deterministic(threads=1):
        _, gradients = gradients_of(phase, recipe=recipe)
        train_phase(after, phase, images=training_images(8), recipe=recipe)
    clipped = 0
    for name, weight in after.named_parameters():
        expected = dict(before.named_parameters())[name] - gradients[name].clamp(-clip, clip)
        torch.testing.assert_close(weight, expected, rtol=1e-4, atol=1e-6)
        clipped += int((gradients[name].abs() > clip).sum())
    assert clipped > 100


def test_the_sizes_of_a_step_are_shared_or_each_one_s_own():
    archs = sandwich().archs
    shared = dataclasses.replace(archs, resolution="step")
    own = dataclasses.replace(tiny_phase(per_step=4).archs, resolution="subnet")
    draws = [shared.draw(np.random.default_rng(seed)) for seed in range(20)]
    assert {len({arch.resolution_px for arch in drawn}) for drawn in draws} == {1}
    assert {drawn[0].resolution_px for drawn in draws} == {8, 12}
    for drawn in draws:
        assert drawn[0].depths == SPACE.largest.depths
        assert drawn[1].depths == SPACE.smallest.depths
    draws = [own.draw(np.random.default_rng(seed)) for seed in range(20)]
    assert {len({arch.resolution_px for arch in drawn}) for drawn in draws} == {1, 2}
    assert not archs.shares_resolution
    assert tiny_phase().archs.shares_resolution


def test_zero_scales_are_the_last_ones_of_residual_blocks_and_no_others():
    supernet = build_supernet(SPACE, num_classes=NUM_CLASSES, seed=0)
    zero_last_scales(supernet)
    zeros = {
        name for name, value in supernet.named_parameters() if value.ndim == 1 and not value.any()
    }
    scales = {name for name in zeros if name.endswith("norm.weight")}
    # Of each group the first block changes the channels; the static first block does not.
    assert scales == {
        "first_block.project.norm.weight",
        "groups.0.0.project.norm.weight",
        "groups.0.1.project.norm.weight",
        "groups.1.1.project.norm.weight",
    }


def test_zero_scales_of_a_resnet_leave_the_stem_alone():
    space = resnet50().restrict(depths=[[0], [2], [2], [4], [2]])
    supernet = build_supernet(space, num_classes=NUM_CLASSES, seed=0)
    zero_last_scales(supernet)
    scales = {
        name
        for name, value in supernet.named_parameters()
        if name.endswith("norm.weight") and not value.any()
    }
    assert scales == {
        f"groups.{group}.{block}.conv3.norm.weight"
        for group, count in ((1, 2), (2, 2), (3, 4), (4, 2))
        for block in range(count)
    }


def test_a_checkpoint_of_another_recipe_is_refused_and_says_what_differs(tmp_path):
    def train(phase, **changes):
        recipe = dataclasses.replace(tiny_recipe(), **changes)
        supernet = build_supernet(SPACE, num_classes=NUM_CLASSES, seed=0)
        hooks = Hooks(checkpoints=Checkpoints(tmp_path))
        train_phase(supernet, phase, images=training_images(8), recipe=recipe, hooks=hooks)

    train(sandwich(first_share=0.5))
    train(sandwich(first_share=0.5))  # the same goes on
    train(sandwich(first_share=0.5), workers=2)
    with pytest.raises(CheckpointError, match=r"first_share is 0\.5 there and None here"):
        train(sandwich())
    other = dataclasses.replace(
        sandwich(first_share=0.5), teaching=build_teaching("in_place", loss="alpha")
    )
    with pytest.raises(
        CheckpointError, match=r"teaching\.distillation is SoftCrossEntropy there and"
    ):
        train(other)
    with pytest.raises(
        CheckpointError, match=r"label_smoothing is 0\.1 there and 0\.2 here.*Remove it"
    ):
        train(sandwich(first_share=0.5), label_smoothing=0.2)
