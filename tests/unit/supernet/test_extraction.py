"""Extraction: the very bits of the supernet, in plain layers."""

import pytest
import torch
from torch import nn

from ofa_pipeline.errors import ArchError
from ofa_pipeline.supernet import build_subnet, extract_subnet, store_statistics
from tests.support.networks import (
    NUM_CLASSES,
    random_archs,
    random_images,
    random_supernet,
    tiny_space,
    tiny_space_without_mix,
)

PLAIN_LAYERS = (
    nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.Dropout, nn.Identity,
    nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Hardsigmoid,
)  # fmt: skip


@pytest.mark.parametrize("space", [tiny_space(), tiny_space_without_mix()], ids=["mix", "no mix"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extraction_is_bit_exact(space, dtype):
    supernet = random_supernet(space).to(dtype)
    images = random_images().to(dtype)
    with torch.no_grad():
        for arch in random_archs(space, 8):
            subnet = extract_subnet(supernet, arch)
            assert torch.equal(subnet(images), supernet(images, arch))
            assert torch.equal(subnet(images[:1]), supernet(images[:1], arch))


def test_a_subnet_knows_what_it_is():
    space = tiny_space()
    subnet = extract_subnet(random_supernet(space, dropout=0.2), space.smallest)
    assert subnet.space == space
    assert subnet.arch == space.smallest
    assert subnet.num_classes == NUM_CLASSES
    assert not subnet.training
    assert [m.p for m in subnet.modules() if isinstance(m, nn.Dropout)] == [0.2]


def test_a_subnet_is_made_of_torchs_own_layers():
    space = tiny_space()
    subnet = extract_subnet(random_supernet(space), space.largest)
    leaves = [module for module in subnet.modules() if not list(module.children())]
    assert all(isinstance(leaf, PLAIN_LAYERS) for leaf in leaves)


def test_names_mean_the_same_in_every_subnet_and_in_the_supernet():
    space = tiny_space()
    supernet = random_supernet(space)
    names = supernet.state_dict().keys()
    for arch in random_archs(space, 4):
        subnet = extract_subnet(supernet, arch)
        found = {n for n in subnet.state_dict() if not n.endswith("num_batches_tracked")}
        assert found <= names


def test_extraction_copies():
    space = tiny_space()
    supernet = random_supernet(space)
    images = random_images()
    with torch.no_grad():
        before = supernet(images, space.largest)
        subnet = extract_subnet(supernet, space.largest)
        for parameter in subnet.parameters():
            parameter.zero_()
        assert torch.equal(supernet(images, space.largest), before)


def test_a_foreign_architecture_is_refused():
    with pytest.raises(ArchError, match="one of 3, 5, 7"):
        tiny_space().arch(kernel_sizes=4)
    other = tiny_space_without_mix().restrict(kernel_sizes=[3])
    supernet = random_supernet(other)
    with pytest.raises(ArchError, match="must be one of 3, got 7"):
        extract_subnet(supernet, tiny_space().largest)


def test_a_built_subnet_has_the_layers_of_an_extracted_one():
    space = tiny_space()
    for arch in random_archs(space, 3):
        built = build_subnet(space, arch, num_classes=NUM_CLASSES).state_dict()
        extracted = extract_subnet(random_supernet(space), arch).state_dict()
        assert {n: t.shape for n, t in built.items()} == {n: t.shape for n, t in extracted.items()}


def test_statistics_of_the_largest_subnet_are_stored_in_the_supernet():
    space = tiny_space()
    supernet = random_supernet(space)
    subnet = extract_subnet(supernet, space.largest).train()
    images = random_images()
    with torch.no_grad():
        subnet(images)
        subnet.eval()
        assert not torch.equal(supernet(images, space.largest), subnet(images))
        store_statistics(supernet, subnet)
        assert torch.equal(supernet(images, space.largest), subnet(images))


def test_statistics_of_a_smaller_subnet_are_refused():
    space = tiny_space()
    supernet = random_supernet(space)
    with pytest.raises(ValueError, match="must come from the largest subnet"):
        store_statistics(supernet, extract_subnet(supernet, space.smallest))
