"""Channel sorting: important channels first, trained subnets untouched."""

import dataclasses

import pytest
import torch

from ofa_pipeline.errors import ArchError
from ofa_pipeline.supernet import sort_channels
from ofa_pipeline.supernet.ordering import order_by_importance
from tests.support.networks import random_archs, random_images, random_supernet, tiny_space

RATIOS = [2.0, 3.0, 4.0]


@pytest.mark.parametrize("trained", [[4.0], [3.0, 4.0], RATIOS])
def test_sorting_leaves_every_trained_subnet_alone(trained):
    space = tiny_space()
    supernet = random_supernet(space).double()
    images = random_images().double()
    archs = random_archs(space.restrict(expand_ratios=trained), 6)
    with torch.no_grad():
        before = [supernet(images, arch) for arch in archs]
        sort_channels(supernet, trained_expand_ratios=trained)
        for arch, logits in zip(archs, before, strict=True):
            torch.testing.assert_close(supernet(images, arch), logits, rtol=1e-11, atol=1e-11)


def test_sorting_changes_subnets_that_are_still_to_be_trained():
    space = tiny_space()
    supernet = random_supernet(space)
    images = random_images()
    with torch.no_grad():
        before = supernet(images, space.smallest)
        sort_channels(supernet, trained_expand_ratios=[4.0])
        assert not torch.allclose(supernet(images, space.smallest), before)


def test_channels_and_hidden_units_end_up_by_importance():
    space = tiny_space()
    supernet = random_supernet(space)
    sort_channels(supernet, trained_expand_ratios=[4.0])
    block = supernet.get_submodule("groups.1.0")
    channels = block.get_parameter("project.conv.weight").abs().sum(dim=(0, 2, 3))
    hidden = block.get_parameter("se.expand.weight").abs().sum(dim=0)
    assert (channels[:-1] >= channels[1:]).all()
    assert (hidden[:-1] >= hidden[1:]).all()


def test_a_coupled_supernet_is_sorted_as_any_other():
    space = tiny_space().restrict(expand_ratios=[3.0, 4.0])
    one, other = random_supernet(space), random_supernet(space)
    other.space = dataclasses.replace(space, is_coupled=True)
    for supernet in (one, other):
        sort_channels(supernet, trained_expand_ratios=[4.0])
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name


def test_an_unknown_ratio_is_refused():
    with pytest.raises(ArchError, match=r"expand_ratios .*one of 2, 3, 4, got 5"):
        sort_channels(random_supernet(tiny_space()), trained_expand_ratios=[5.0])


def test_order_is_by_importance_within_protected_groups():
    importance = torch.tensor([1.0, 3.0, 2.0, 9.0, 8.0, 10.0])
    order = order_by_importance(importance, trained_sizes=[3, 6])
    assert order.tolist() == [1, 2, 0, 5, 3, 4]


def test_equal_importance_keeps_the_order_and_small_differences_count():
    offsets = torch.tensor([0.0, 0.0, 0.001, 0.0])
    order = order_by_importance(3.0 + offsets, trained_sizes=[4])
    assert order.tolist() == [2, 0, 1, 3]
