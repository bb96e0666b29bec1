"""Folding batch norm: the same function, without batch norm."""

import pytest
import torch
from torch import nn

from ofa_pipeline.supernet import extract_subnet, fold_batch_norm, save_subnet
from tests.support.networks import random_archs, random_images, random_supernet, tiny_space


def test_folding_changes_logits_by_rounding_only():
    space = tiny_space()
    supernet = random_supernet(space).double()
    images = random_images().double()
    with torch.no_grad():
        for arch in random_archs(space, 3):
            subnet = extract_subnet(supernet, arch)
            torch.testing.assert_close(fold_batch_norm(subnet)(images), subnet(images))


def test_a_folded_network_has_no_batch_norm_and_the_original_keeps_its_own():
    space = tiny_space()
    subnet = extract_subnet(random_supernet(space), space.smallest)
    folded = fold_batch_norm(subnet)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in subnet.modules())
    assert folded.arch == subnet.arch


def test_folding_twice_changes_nothing():
    space = tiny_space()
    folded = fold_batch_norm(extract_subnet(random_supernet(space), space.smallest))
    images = random_images()
    with torch.no_grad():
        assert torch.equal(fold_batch_norm(folded)(images), folded(images))


def test_a_folded_network_is_not_saved_as_a_subnet(tmp_path):
    space = tiny_space()
    folded = fold_batch_norm(extract_subnet(random_supernet(space), space.smallest))
    with pytest.raises(ValueError, match="folded subnet cannot be saved"):
        save_subnet(folded, tmp_path / "subnet.safetensors")
