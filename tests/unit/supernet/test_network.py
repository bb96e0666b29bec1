"""The supernet: what an architecture runs, and what it leaves alone."""

import copy
from dataclasses import replace

import pytest
import torch

from ofa_pipeline.errors import ArchError
from ofa_pipeline.spaces import mobilenet_v3
from ofa_pipeline.supernet import build_supernet
from tests.support.networks import (
    NUM_CLASSES,
    random_archs,
    random_images,
    random_supernet,
    tiny_space,
    tiny_space_without_mix,
)


@pytest.mark.parametrize("space", [tiny_space(), tiny_space_without_mix()], ids=["mix", "no mix"])
def test_every_architecture_gives_logits_at_any_image_size(space):
    supernet = random_supernet(space)
    for arch in random_archs(space, 3):
        for side_px in (8, 13):
            images = random_images(side_px=side_px)
            assert supernet(images, arch).shape == (4, NUM_CLASSES)


def test_an_architecture_of_another_space_is_refused_with_the_choices():
    space = tiny_space()
    foreign = replace(space.largest, kernel_sizes=(9, *space.largest.kernel_sizes[1:]))
    with pytest.raises(ArchError, match=r"kernel_sizes\[0\] .*one of 3, 5, 7, got 9"):
        random_supernet(space)(random_images(), foreign)


def test_skipped_blocks_get_no_gradient():
    space = tiny_space()
    supernet = random_supernet(space).train()
    supernet(random_images(), space.smallest).sum().backward()
    for name, parameter in supernet.named_parameters():
        is_skipped = name.startswith(("groups.0.1.", "groups.1.1."))
        assert (parameter.grad is None) == (is_skipped or (".transforms." in name and is_skipped))


def test_inactive_channels_get_zero_gradient():
    space = tiny_space()
    supernet = random_supernet(space).train()
    supernet(random_images(), space.smallest).sum().backward()
    block = supernet.get_submodule("groups.1.0")
    middle = 2 * 16
    for name, dim in (
        ("expand.conv.weight", 0),
        ("expand.norm.weight", 0),
        ("depthwise.conv.weight", 0),
        ("depthwise.norm.bias", 0),
        ("se.reduce.weight", 1),
        ("se.expand.bias", 0),
        ("project.conv.weight", 1),
    ):
        gradient = block.get_parameter(name).grad
        inactive = gradient.narrow(dim, middle, gradient.shape[dim] - middle)
        assert inactive.abs().max() == 0, name


def test_every_parameter_of_the_largest_architecture_but_the_transforms_gets_a_gradient():
    space = tiny_space()
    supernet = random_supernet(space).train()
    (supernet(random_images(), space.largest) ** 2).sum().backward()
    for name, parameter in supernet.named_parameters():
        assert (parameter.grad is None) == (".transforms." in name), name


def test_training_leaves_the_statistics_alone():
    space = tiny_space()
    supernet = random_supernet(space).train()
    before = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    for arch in random_archs(space, 2):
        supernet(random_images(), arch)
    assert before
    for name, buffer in supernet.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_two_architectures_do_not_interfere():
    space = tiny_space()
    supernet = random_supernet(space)
    images = random_images()
    with torch.no_grad():
        alone = copy.deepcopy(supernet)(images, space.largest)
        supernet(images, space.smallest)
        assert torch.equal(supernet(images, space.largest), alone)


def test_dropout_acts_in_training_only():
    space = tiny_space()
    supernet = random_supernet(space, dropout=0.5)
    images = random_images()
    with torch.no_grad():
        assert torch.equal(supernet(images, space.largest), supernet(images, space.largest))
        supernet.train()
        first, second = supernet(images, space.largest), supernet(images, space.largest)
    assert not torch.equal(first, second)


def test_the_images_of_the_caller_are_left_as_they_are():
    space = tiny_space()
    images = random_images()
    before = images.clone()
    random_supernet(space)(images, space.largest)
    assert torch.equal(images, before)


def test_the_reference_space_has_the_reference_number_of_parameters():
    supernet = build_supernet(mobilenet_v3(width_multiplier=1.0), num_classes=1000)
    assert sum(p.numel() for p in supernet.parameters()) == 7_678_880
