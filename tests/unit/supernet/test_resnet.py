"""The elastic ResNet50-D, at a few channels so that tests are quick."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ofa_pipeline.arch import Arch, ResNetBackbone, SearchSpace
from ofa_pipeline.cost import arch_cost
from ofa_pipeline.spaces import resnet50
from ofa_pipeline.supernet import (
    Supernet,
    build_supernet,
    extract_subnet,
    fold_batch_norm,
    load_subnet,
    load_supernet,
    save_subnet,
    save_supernet,
    sort_channels,
    sort_widths,
)

NUM_CLASSES = 5


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    full = resnet50()
    groups = tuple(
        replace(group, out_channels=max(group.out_channels // 8, 16)) for group in full.block_groups
    )
    return replace(full, block_groups=groups, backbone=ResNetBackbone(stem_channels=32))


@pytest.fixture
def supernet(space: SearchSpace) -> Supernet:
    network = build_supernet(space, num_classes=NUM_CLASSES).eval().double()
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if tensor.ndim == 1:
            drawn = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.copy_(drawn + 0.5 if name.endswith(("var", "norm.weight")) else drawn - 0.5)
    return network


def images(side_px: int = 33) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, side_px, side_px, generator=generator, dtype=torch.float64)


def sampled(space: SearchSpace, count: int) -> list[Arch]:
    return space.archs(space.sample(np.random.default_rng(0), count))


@torch.no_grad()
def test_extraction_is_bit_exact_and_costs_what_is_counted(
    space: SearchSpace, supernet: Supernet
) -> None:
    for arch in [space.largest, space.smallest, *sampled(space, 6)]:
        subnet = extract_subnet(supernet, arch)
        assert torch.equal(subnet(images()), supernet(images(), arch))
        params = sum(parameter.numel() for parameter in subnet.parameters())
        assert params == arch_cost(space, arch, num_classes=NUM_CLASSES).num_params


@torch.no_grad()
def test_folded_subnet_computes_the_same(space: SearchSpace, supernet: Supernet) -> None:
    subnet = extract_subnet(supernet, sampled(space, 1)[0])
    torch.testing.assert_close(fold_batch_norm(subnet)(images()), subnet(images()))


def test_inactive_weights_get_no_gradient(space: SearchSpace, supernet: Supernet) -> None:
    supernet(images(), space.smallest).sum().backward()
    block = supernet.get_submodule("groups.1.0.conv3.conv")
    gradient = block.get_parameter("weight").grad
    assert gradient is not None
    out, inner = 24, 8  # 32 channels at width 0.65, a fifth of them inside
    assert gradient[:out, :inner].abs().max() > 0
    assert gradient[out:].abs().max() == 0
    assert gradient[:, inner:].abs().max() == 0


@torch.no_grad()
def test_sorting_inside_blocks_leaves_every_trained_subnet_alone(
    space: SearchSpace, supernet: Supernet
) -> None:
    trained = space.restrict(expand_ratios=(0.25, 0.35), width_multipliers=(0.8, 1.0))
    archs = [space.largest, *sampled(trained, 5)]
    before = [supernet(images(), arch) for arch in archs]
    first = supernet.get_submodule("groups.3.0.conv1.conv").get_parameter("weight").clone()
    sort_channels(
        supernet, trained_expand_ratios=(0.25, 0.35), trained_width_multipliers=(0.8, 1.0)
    )
    after = supernet.get_submodule("groups.3.0.conv1.conv").get_parameter("weight")
    assert not torch.equal(first, after)
    for arch, logits in zip(archs, before, strict=True):
        torch.testing.assert_close(supernet(images(), arch), logits)


@torch.no_grad()
def test_sorting_between_blocks_leaves_trained_widths_alone(
    space: SearchSpace, supernet: Supernet
) -> None:
    trained = space.restrict(width_multipliers=(0.8, 1.0))
    archs = [space.largest, *sampled(trained, 5)]
    before = [supernet(images(), arch) for arch in archs]
    smaller = supernet(images(), space.smallest)
    sort_widths(supernet, trained_width_multipliers=(0.8, 1.0))
    for arch, logits in zip(archs, before, strict=True):
        torch.testing.assert_close(supernet(images(), arch), logits)
    assert not torch.allclose(supernet(images(), space.smallest), smaller)


@torch.no_grad()
def test_sorting_between_blocks_puts_what_is_read_most_first(supernet: Supernet) -> None:
    sort_widths(supernet, trained_width_multipliers=(1.0,))
    first = supernet.get_submodule("groups.1.0")
    readers = [first.get_parameter(f"{layer}.conv.weight") for layer in ("conv1", "downsample")]
    read = torch.stack([weight.abs().sum(dim=(0, 2, 3)) for weight in readers]).sum(dim=0)
    assert (read[:-1] >= read[1:]).all()


def test_files_are_read_back_exactly(space: SearchSpace, supernet: Supernet, tmp_path) -> None:
    network = supernet.float()
    save_supernet(network, tmp_path / "supernet.safetensors")
    arch = sampled(space, 1)[0]
    subnet = extract_subnet(network, arch)
    save_subnet(subnet, tmp_path / "subnet.safetensors")
    read = load_supernet(tmp_path / "supernet.safetensors")
    with torch.no_grad():
        wanted = network(images().float(), arch)
        assert torch.equal(read(images().float(), arch), wanted)
        assert torch.equal(load_subnet(tmp_path / "subnet.safetensors")(images().float()), wanted)
