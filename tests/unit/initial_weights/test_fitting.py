"""Weights in the supernet of a space: what is kept, what is new, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ofa_pipeline.errors import CheckpointError
from ofa_pipeline.initial_weights import FoundWeights, fit_to_space
from ofa_pipeline.supernet import extract_subnet
from ofa_pipeline.weights_source import parse_source
from tests.support.networks import random_images, tiny_resnet_space, tiny_space
from tests.support.weights import weights_of

SPACE = tiny_space()
SOURCE = parse_source("supernet", "elsewhere.safetensors")


def found(network, class_names=None):
    return FoundWeights(source=SOURCE, network=network, sha256="0" * 64, class_names=class_names)


def fitted(network, *, space=SPACE, class_names=("a", "b", "c"), known=None):
    return fit_to_space(found(network, known), space, class_names=class_names, seed=3)


def with_groups(**changes):
    groups = tuple(replace(group, **changes) for group in SPACE.block_groups)
    return replace(SPACE, block_groups=groups)


def body_of(network):
    return {n: t for n, t in network.state_dict().items() if not n.startswith("classifier.")}


def assert_equal_states(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_every_weight_is_kept_where_the_classes_are_as_many():
    weights = weights_of(SPACE)
    initial = fitted(weights)
    assert_equal_states(initial.supernet.state_dict(), dict(weights.state_dict()))
    assert not initial.is_classifier_new
    assert "the classifier is kept" in initial.text


def test_only_the_classifier_is_new_where_the_classes_differ_in_number():
    weights = weights_of(SPACE)
    initial = fitted(weights, class_names=("a", "b"))
    assert_equal_states(body_of(initial.supernet), body_of(weights))
    assert initial.supernet.classifier.weight.shape[0] == 2
    assert initial.is_classifier_new
    assert "3 classes there, 2 here: the classifier is new" in initial.text


def test_the_classifier_is_new_where_the_classes_differ_in_name():
    weights = weights_of(SPACE)
    assert fitted(weights, known=("x", "y", "z")).is_classifier_new
    kept = fitted(weights, known=("a", "b", "c"))
    assert torch.equal(kept.supernet.classifier.weight, weights.classifier.weight)


def test_other_resolutions_and_fewer_smaller_choices_fit():
    space = replace(with_groups(depths=(2,), expand_ratios=(4.0,)), resolutions_px=(16,))
    weights = weights_of(SPACE)
    assert_equal_states(body_of(fitted(weights, space=space).supernet), body_of(weights))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            with_groups(kernel_sizes=(3, 5)),
            r"kernel_sizes of block group 1 \(3, 5\) in",
        ),
        (with_groups(depths=(1, 2, 3)), "the largest depth of block group 1 3 in params.yaml, 2"),
        (with_groups(expand_ratios=(2.0, 6.0)), "the largest expand ratio of block group 1 6.0"),
        (with_groups(out_channels=16), "out_channels of block group 2 16 in params.yaml, 24 in"),
        (with_groups(stride=1), "stride of block group 1 1"),
        (with_groups(activation="relu6"), "activation of block group 1 relu6"),
        (replace(SPACE, block_groups=SPACE.block_groups[:1]), "the number of block groups 1"),
        (replace(SPACE, backbone=replace(SPACE.backbone, stem_stride=2)), "stem_stride 2"),
        (tiny_resnet_space(), "the kind of network ResNetBackbone in params.yaml, MBConvBackbone"),
    ],
)
def test_weights_of_another_space_are_refused_with_what_differs(space, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        fitted(weights_of(SPACE), space=space)
    assert "supernet elsewhere.safetensors" in str(caught.value)
    assert "Give the space what the weights have" in str(caught.value)


def test_numbers_that_are_not_finite_are_refused():
    weights = weights_of(SPACE)
    weights.state_dict()["final.conv.weight"][0] = np.nan
    with pytest.raises(CheckpointError, match=r"must be finite numbers, but final.conv.weight"):
        fitted(weights)


def test_weights_that_were_elastic_are_left_in_order():
    assert not fitted(weights_of(SPACE)).is_sorted


@pytest.mark.parametrize("index", range(5))
def test_a_subnet_of_any_size_grows_to_what_computes_the_same(index):
    rng = np.random.default_rng(index)
    arch = [*SPACE.archs(SPACE.sample(rng, 4)), SPACE.smallest][index]
    subnet = extract_subnet(weights_of(SPACE), arch)
    initial = fitted(subnet)
    assert initial.is_sorted
    largest = extract_subnet(initial.supernet, SPACE.largest)
    images = random_images(side_px=arch.resolution_px)
    with torch.no_grad():
        torch.testing.assert_close(largest(images), subnet(images), rtol=1e-4, atol=1e-4)


def test_what_a_subnet_is_grown_by_learns():
    subnet = extract_subnet(weights_of(SPACE), SPACE.smallest)
    supernet = fitted(subnet).supernet.train()
    supernet(random_images(side_px=12), SPACE.largest).square().sum().backward()
    block = supernet.groups[1][1]  # not in the smallest
    assert block.project.norm.weight.grad.abs().max() > 0
    wide = supernet.groups[0][0].project.conv.weight.grad
    assert wide.abs().sum(dim=(0, 2, 3)).min() > 0


def test_a_subnet_beyond_the_space_is_refused_with_what_is_too_large():
    subnet = extract_subnet(weights_of(SPACE), SPACE.largest)
    space = with_groups(kernel_sizes=(3, 5), depths=(1,))
    with pytest.raises(
        CheckpointError, match=r"depth of block group 1 at most 1 .*, 2 in the"
    ) as e:
        fitted(subnet, space=space)
    assert "kernel size of block group 1 at most 5 in params.yaml, 7" in str(e.value)


def test_a_smaller_subnet_of_a_resnet_is_refused():
    space = tiny_resnet_space()
    weights = weights_of(space)
    largest = fitted(extract_subnet(weights, space.largest), space=space).supernet
    images = random_images(side_px=32)
    with torch.no_grad():
        torch.testing.assert_close(
            largest(images, space.largest), weights(images, space.largest), rtol=1e-4, atol=1e-4
        )
    with pytest.raises(CheckpointError, match="must be the largest one"):
        fitted(extract_subnet(weights, space.smallest), space=space)
