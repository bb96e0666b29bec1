"""Costs: what is counted on the network itself, for one architecture or many."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ofa_pipeline.cost import Cost, arch_cost, estimate_cost, latency_features
from ofa_pipeline.errors import ArchError
from ofa_pipeline.spaces import reference_space, resnet50
from ofa_pipeline.supernet import Subnet, build_subnet
from tests.support.networks import (
    NUM_CLASSES,
    random_archs,
    tiny_space,
    tiny_space_without_mix,
)

# Source: table 17.1 of the reference's description, in millions of MACs.
REFERENCE_MACS = [
    ("ofa_mbv3_d234_e346_k357_w1.0", (7, 6, 4), {128: 188.248, 176: 359.243, 224: 566.171}),
    ("ofa_mbv3_d234_e346_k357_w1.0", (3, 3, 2), {128: 41.476, 160: 63.241, 192: 89.841}),
    ("ofa_mbv3_d234_e346_k357_w1.2", (5, 4, 3), {160: 198.948, 176: 245.354, 224: 385.659}),
    ("ofa_proxyless_d234_e346_k357_w1.3", (7, 6, 4), {128: 329.254, 224: 1004.908}),
]
REFERENCE_RESNET_MACS = [
    (1, 4, 0.35, 1.0, {128: 2447.630, 224: 7491.644}, 48_105_992),
    (1, 4, 0.25, 1.0, {192: 3501.769}, 30_109_256),
    (0, 2, 0.2, 0.65, {192: 707.269, 224: 962.192}, 6_539_280),
]


@torch.no_grad()
def counted(subnet: Subnet, side_px: int) -> dict[str, int]:
    """Count with hooks over plain layers."""
    totals = {"macs": 0, "activations": 0, "layers": 0, "hard_swish": 0}

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            pixels = output.numel() // layer.weight.shape[0]
            totals["macs"] += layer.weight.numel() * pixels
            totals["activations"] += output.numel()
            totals["layers"] += 1
        if isinstance(layer, nn.Hardswish):
            totals["hard_swish"] += output.numel()

    hooks = [layer.register_forward_hook(count) for layer in subnet.modules()]
    subnet(torch.zeros(1, 3, side_px, side_px))
    for hook in hooks:
        hook.remove()
    totals["params"] = sum(parameter.numel() for parameter in subnet.parameters())
    return totals


@pytest.mark.parametrize("space", [tiny_space(), tiny_space_without_mix()], ids=["mix", "no mix"])
def test_costs_equal_what_is_counted_on_the_network(space):
    archs = random_archs(space, 20)
    cost = estimate_cost(space, space.genes(archs), num_classes=NUM_CLASSES)
    for row, arch in enumerate(archs):
        subnet = build_subnet(space, arch, num_classes=NUM_CLASSES)
        assert counted(subnet, arch.resolution_px) == {
            "macs": cost.macs[row],
            "activations": sum(count[row] for count in cost.activations_by_kind.values()),
            "layers": cost.num_layers[row],
            "hard_swish": cost.elementwise["hard_swish"][row],
            "params": cost.num_params[row],
        }
        assert cost.num_blocks[row] == sum(arch.depths)


@pytest.mark.parametrize(("space_id", "sizes", "expected"), REFERENCE_MACS)
def test_mobile_networks_cost_what_the_reference_says(space_id, sizes, expected):
    space = reference_space(space_id)
    kernel_size, expand_ratio, depth = sizes
    depths = [min(depth, group.max_depth) for group in space.block_groups]
    arch = space.arch(depths=depths, kernel_sizes=kernel_size, expand_ratios=expand_ratio)
    for side_px, millions in expected.items():
        cost = arch_cost(space, arch, num_classes=1000, resolution_px=side_px)
        assert round(cost.macs / 1e6, 3) == millions


@pytest.mark.parametrize(
    ("stem", "depth", "ratio", "width", "expected", "num_params"), REFERENCE_RESNET_MACS
)
def test_resnets_cost_what_the_reference_says(stem, depth, ratio, width, expected, num_params):
    space = resnet50()
    arch = space.arch(
        depths=[stem, depth, depth, depth + 2, depth],
        expand_ratios=[1.0, *[ratio] * 18],
        width_multipliers=width,
    )
    for side_px, millions in expected.items():
        cost = arch_cost(space, arch, num_classes=1000, resolution_px=side_px)
        assert round(cost.macs / 1e6, 3) == millions
        assert cost.num_params == num_params


def test_many_architectures_cost_what_each_costs_alone():
    space = tiny_space()
    archs = random_archs(space, 10)
    cost = estimate_cost(space, space.genes(archs), num_classes=NUM_CLASSES)
    alone = [arch_cost(space, arch, num_classes=NUM_CLASSES) for arch in archs]
    assert cost.macs.tolist() == [one.macs for one in alone]
    assert cost.num_params.tolist() == [one.num_params for one in alone]


def test_genes_of_skipped_blocks_cost_nothing():
    space = tiny_space()
    genes = space.sample(np.random.default_rng(0), 50)
    other = genes.copy()
    for name in ("kernel_size", "expand_ratio"):
        columns = other[:, space.columns[name]]
        columns[~space.active_blocks(genes)] = 2
    first, second = (estimate_cost(space, g, num_classes=NUM_CLASSES) for g in (genes, other))
    assert np.array_equal(first.macs, second.macs)
    assert np.array_equal(first.num_params, second.num_params)


def test_kinds_are_the_same_for_every_architecture():
    space = tiny_space()

    def kinds(cost: Cost) -> list[str]:
        return list(cost.macs_by_kind)

    smallest = estimate_cost(space, space.genes([space.smallest]), num_classes=NUM_CLASSES)
    assert kinds(smallest) == [
        "stem", "depthwise_k3", "project", "expand", "depthwise_k5", "depthwise_k7",
        "squeeze_excite", "head",
    ]  # fmt: skip
    assert smallest.macs_by_kind["depthwise_k7"].tolist() == [0]


def test_features_explain_the_costs():
    space = tiny_space()
    genes = space.sample(np.random.default_rng(0), 20)
    names, features = latency_features(space, genes, num_classes=NUM_CLASSES)
    cost = estimate_cost(space, genes, num_classes=NUM_CLASSES)
    assert features.shape == (20, len(names))
    is_macs = [name.startswith("macs_") for name in names]
    assert np.array_equal(features[:, is_macs].sum(axis=1), cost.macs)
    pixels = features[:, names.index("input_pixels")]
    assert set(pixels) == {64.0, 144.0}


def test_convolutions_are_counted_in_whole_tiles_of_pixels():
    space = tiny_space()
    genes = space.sample(np.random.default_rng(0), 20)
    names, plain = latency_features(space, genes, num_classes=NUM_CLASSES)
    # More pixels than any feature map has: each convolution computes one tile.
    tiled_names, tiled = latency_features(space, genes, num_classes=NUM_CLASSES, tile_px=1000)
    assert tiled_names == names
    first = estimate_cost(space, genes, num_classes=NUM_CLASSES, resolutions_px=np.full(20, 1))
    for column, name in enumerate(names):
        kind = name.removeprefix("macs_")
        if kind in (name, "squeeze_excite"):
            assert np.array_equal(tiled[:, column], plain[:, column])
        elif kind == "head":
            assert (tiled[:, column] > plain[:, column]).all()
        else:
            assert np.array_equal(tiled[:, column], 1000 * first.macs_by_kind[kind])


def test_image_sizes_of_another_number_are_refused():
    space = tiny_space()
    genes = space.genes([space.largest])
    with pytest.raises(ArchError, match=r"must have shape \(1,\), one an architecture, got \(2,\)"):
        estimate_cost(space, genes, num_classes=2, resolutions_px=np.array([8, 8]))


def test_a_hundred_thousand_architectures_are_counted_at_once():
    space = tiny_space()
    genes = space.sample(np.random.default_rng(0), 100_000)
    assert estimate_cost(space, genes, num_classes=NUM_CLASSES).macs.shape == (100_000,)
