import dataclasses

import numpy as np
import pytest
import torch

from ofa_pipeline.errors import ArchError
from ofa_pipeline.spaces import mobilenet_v3_small_images, reference_space
from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.supernet.padded import PaddedSupernet

NUM_CLASSES = 5


def small_images():
    return mobilenet_v3_small_images(
        stem_stride=1,
        stem_channels=8,
        group_channels=[8, 16, 24],
        group_strides=[1, 2, 2],
        head_channels=(24, 32),
        resolutions_px=(9, 12),
        depths=(1, 2, 3),
        kernel_sizes=(3, 5, 7),
        expand_ratios=(2.0, 3.0, 4.0),
    )


def archs_of(space, count):
    drawn = space.archs(space.sample(np.random.default_rng(0), count))
    return [space.largest, space.smallest, *drawn]


def learned(parameters, logits):
    weights = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)
    loss = (logits * weights).square().sum()
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(parameters, found, strict=True)
    ]


@pytest.mark.parametrize("images_per_group", [None, 2])
def test_masks_give_the_logits_and_gradients_of_slices(images_per_group):
    space = small_images()
    supernet = build_supernet(space, num_classes=NUM_CLASSES, seed=0).double().train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in supernet.parameters():  # norms and transforms start as identities
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    for module in supernet.modules():
        if hasattr(module, "images_per_group"):
            module.images_per_group = images_per_group
    padded, parameters = PaddedSupernet(supernet), list(supernet.parameters())
    for arch in archs_of(space, 3):
        side = arch.resolution_px
        images = torch.randn(4, 3, side, side, generator=generator, dtype=torch.float64)
        expected = supernet(images, arch)
        found = padded(images, padded.values(arch))
        scale = float(expected.detach().abs().max())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-13 * scale)
        pairs = zip(learned(parameters, found), learned(parameters, expected), strict=True)
        for (name, _), (one, other) in zip(supernet.named_parameters(), pairs, strict=True):
            atol = 1e-11 * max(1.0, float(other.abs().max()))
            torch.testing.assert_close(one, other, rtol=0, atol=atol, msg=name)
            if one.ndim == 4:  # kernels that the subnet does not have
                unused = (other == 0).flatten(1).all(dim=1)
                assert not one[unused].any(), name


@pytest.mark.parametrize(
    "name", ["ofa_mbv3_d234_e346_k357_w1.0", "ofa_proxyless_d234_e346_k357_w1.3"]
)
def test_the_reference_spaces_can_be_padded(name):
    space = reference_space(name)
    supernet = build_supernet(space, num_classes=NUM_CLASSES, seed=0).double().eval()
    padded = PaddedSupernet(supernet)
    arch = archs_of(space, 1)[-1]
    images = torch.randn(2, 3, 33, 33, dtype=torch.float64)
    with torch.no_grad():
        expected = supernet(images, arch)
        found = padded(images, padded.values(arch))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def test_all_architectures_have_as_many_values():
    space = small_images()
    padded = PaddedSupernet(build_supernet(space, num_classes=NUM_CLASSES, seed=0))
    assert len({len(padded.values(arch)) for arch in archs_of(space, 5)}) == 1


def test_an_architecture_of_another_space_is_refused():
    space = small_images()
    padded = PaddedSupernet(build_supernet(space, num_classes=NUM_CLASSES, seed=0))
    other = dataclasses.replace(space.largest, resolution_px=64)
    with pytest.raises(ArchError):
        padded.values(other)
