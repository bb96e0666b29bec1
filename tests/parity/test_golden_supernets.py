"""Outputs of the reference, computed with mit-han-lab/once-for-all f03b267 in double precision.

Both sides fill their weights by the same rule; `tests/support/golden.py` has it.
"""

from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ofa_pipeline.cost import arch_cost
from ofa_pipeline.spaces import REFERENCE_SPACES, reference_space
from ofa_pipeline.supernet import (
    Subnet,
    Supernet,
    build_subnet,
    build_supernet,
    sort_channels,
)
from tests.support.golden import (
    fill_like_the_reference,
    golden,
    golden_arch,
    golden_images,
    relative_error,
)

# Double precision is slow, and a busy machine makes it slower.
pytestmark = [
    pytest.mark.reference,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("one_thread"),
]

NUM_CLASSES = 1000
TOLERANCE = 1e-6
TRAINED_RATIOS = {"ofa_resnet50": (0.35, 0.25)}
MBCONV_TRAINED_RATIOS = (6.0, 4.0)
# At stage 1 the reference moves channels and hidden units that are trained already, which changes
# the trained subnets; ours does not. Without squeeze-excite, at full width, both agree.
HAS_SQUEEZE_EXCITE = ("ofa_mbv3_d234_e346_k357_w1.0", "ofa_mbv3_d234_e346_k357_w1.2")


@lru_cache(maxsize=1)
def filled_supernet(space_id: str) -> Supernet:
    supernet = build_supernet(reference_space(space_id), num_classes=NUM_CLASSES)
    fill_like_the_reference(supernet)
    return supernet


def cases_of(name: str, space_id: str, section: str | None = None) -> list[dict[str, Any]]:
    return [case for case in golden(name, section) if case["supernet"] == space_id]


def images_of(case: dict[str, Any]) -> Tensor:
    return golden_images(case["image_seed"], count=2, side_px=case["image_size"])


@pytest.mark.parametrize("space_id", REFERENCE_SPACES)
@torch.no_grad()
def test_supernets_give_the_golden_logits(space_id):
    supernet = filled_supernet(space_id)
    for case in cases_of("supernets", space_id):
        arch = golden_arch(supernet.space, case["arch"])
        logits = supernet(images_of(case), arch)
        assert relative_error(logits, case["logits"]) < TOLERANCE


@pytest.mark.parametrize("space_id", REFERENCE_SPACES)
def test_cost_is_the_golden_cost(space_id):
    space = reference_space(space_id)
    for case in cases_of("supernets", space_id):
        arch = golden_arch(space, case["arch"])
        cost = arch_cost(space, arch, num_classes=NUM_CLASSES, resolution_px=case["image_size"])
        subnet = build_subnet(space, arch, num_classes=NUM_CLASSES)
        macs = macs_of_layers(subnet, case["image_size"])
        assert cost.num_params == case["params"]
        assert cost.macs == sum(macs)
        # The reference adds up in single precision, where neighbors are 8 to 512 MACs apart.
        assert single_precision_sum(macs) == case["macs"]


@pytest.mark.parametrize("space_id", REFERENCE_SPACES)
@torch.no_grad()
def test_sorted_supernets_give_the_golden_logits(space_id):
    for case in cases_of("mechanics", space_id, "channel_sorting"):
        stage = case["expand_ratio_stage"]
        if stage and space_id in HAS_SQUEEZE_EXCITE:
            continue
        supernet = build_supernet(reference_space(space_id), num_classes=NUM_CLASSES)
        fill_like_the_reference(supernet)
        ratios = TRAINED_RATIOS.get(space_id, MBCONV_TRAINED_RATIOS)
        sort_channels(supernet, trained_expand_ratios=ratios[: 1 + stage])
        logits = supernet(images_of(case), golden_arch(supernet.space, case["arch"]))
        assert relative_error(logits, case["logits"]) < TOLERANCE


@pytest.mark.parametrize("space_id", REFERENCE_SPACES)
@torch.no_grad()
def test_static_networks_give_the_golden_logits(space_id):
    space = reference_space(space_id)
    for case in cases_of("mechanics", space_id, "net_config"):
        arch = golden_arch(space, case["arch"])
        subnet = build_subnet(space, arch, num_classes=NUM_CLASSES)
        fill_like_the_reference(subnet)
        assert relative_error(subnet(images_of(case)), case["logits"]) < TOLERANCE
        assert sum(parameter.numel() for parameter in subnet.parameters()) == case["params"]


@torch.no_grad()
def macs_of_layers(subnet: Subnet, side_px: int) -> list[int]:
    """Count with hooks on the plain layers, in the order in which they are built."""
    counted: dict[nn.Module, int] = {}

    def count(layer: nn.Module, _: Any, output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            counted[layer] = layer.weight[0].numel() * output.numel()
        elif isinstance(layer, nn.Linear):
            counted[layer] = layer.weight.numel()

    hooks = [layer.register_forward_hook(count) for layer in subnet.modules()]
    subnet(torch.zeros(1, 3, side_px, side_px))
    for hook in hooks:
        hook.remove()
    return [counted[layer] for layer in subnet.modules() if layer in counted]


def single_precision_sum(values: list[int]) -> int:
    total = torch.zeros(1)
    for value in values:
        total += torch.zeros(1).fill_(value)
    return int(total.item())
