"""Random weights: seeded, of the right spread, without touching the global generator."""

import math

import torch

from ofa_pipeline.supernet import build_subnet, build_supernet
from tests.support.networks import NUM_CLASSES, random_images, tiny_space


def test_equal_seeds_give_equal_weights():
    space = tiny_space()
    first = build_supernet(space, num_classes=NUM_CLASSES, seed=3).state_dict()
    second = build_supernet(space, num_classes=NUM_CLASSES, seed=3).state_dict()
    other = build_supernet(space, num_classes=NUM_CLASSES, seed=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["stem.conv.weight"], other["stem.conv.weight"])


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    space = tiny_space()
    build_supernet(space, num_classes=NUM_CLASSES)
    build_subnet(space, space.smallest, num_classes=NUM_CLASSES)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_supernet_starts_in_training_and_a_subnet_in_evaluation_mode():
    space = tiny_space()
    assert build_supernet(space, num_classes=NUM_CLASSES).training
    assert not build_subnet(space, space.largest, num_classes=NUM_CLASSES).training


def test_depthwise_weights_spread_by_the_fan_out_of_one_channel():
    supernet = build_supernet(tiny_space(), num_classes=NUM_CLASSES)
    weight = supernet.get_parameter("groups.1.1.depthwise.conv.weight")
    assert math.isclose(float(weight.detach().std()), math.sqrt(2 / 49), rel_tol=0.1)


def test_kernel_transforms_start_as_the_identity():
    supernet = build_supernet(tiny_space(), num_classes=NUM_CLASSES)
    matrix = supernet.get_parameter("groups.0.0.depthwise.conv.transforms.5_to_3")
    assert torch.equal(matrix, torch.eye(9))


def test_a_built_subnet_keeps_the_scale_of_its_input():
    space = tiny_space()
    subnet = build_subnet(space, space.largest, num_classes=NUM_CLASSES, seed=1).train()
    logits = subnet(random_images(count=16))
    assert 0.01 < float(logits.detach().std()) < 10


def test_convolutions_are_laid_out_channels_last():
    supernet = build_supernet(tiny_space(), num_classes=NUM_CLASSES)
    weight = supernet.get_parameter("stem.conv.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
