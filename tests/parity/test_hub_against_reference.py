"""Our hub objects beside the reference's own, with the same weights and the same draws."""

import copy
import json
import random
from typing import Any

import pytest
import torch

from ofa_pipeline.reference.hub import OfaSupernet
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import build_supernet

networks = pytest.importorskip(
    "ofa.imagenet_classification.elastic_nn.networks",
    reason="needs the extra `reference`: pip install ofa-pipeline[reference]",
)
pytestmark = pytest.mark.reference

MOBILE: dict[str, Any] = {
    "ks_list": [3, 5, 7],
    "expand_ratio_list": [3, 4, 6],
    "depth_list": [2, 3, 4],
}
BUILDERS = {
    "ofa_mbv3_d234_e346_k357_w1.0": lambda: networks.OFAMobileNetV3(
        n_classes=7, dropout_rate=0, width_mult=1.0, **copy.deepcopy(MOBILE)
    ),
    "ofa_mbv3_d234_e346_k357_w1.2": lambda: networks.OFAMobileNetV3(
        n_classes=7, dropout_rate=0, width_mult=1.2, **copy.deepcopy(MOBILE)
    ),
    "ofa_proxyless_d234_e346_k357_w1.3": lambda: networks.OFAProxylessNASNets(
        n_classes=7, dropout_rate=0, width_mult=1.3, **copy.deepcopy(MOBILE)
    ),
    "ofa_resnet50": lambda: networks.OFAResNets(
        n_classes=7,
        dropout_rate=0,
        depth_list=[0, 1, 2],
        expand_ratio_list=[0.2, 0.25, 0.35],
        width_mult_list=[0.65, 0.8, 1.0],
    ),
}
DRAWS = 20
SIDE_PX = 32


@pytest.fixture(scope="module", params=sorted(BUILDERS))
def pair(request: pytest.FixtureRequest) -> tuple[OfaSupernet, Any]:
    ours = OfaSupernet(build_supernet(reference_space(request.param), num_classes=7, seed=5))
    state = ours.state_dict()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in state.items():
        if name.endswith(("running_mean", "bn.bias")):
            tensor.normal_(0, 0.1, generator=generator)
        elif name.endswith("_matrix"):
            tensor.add_(torch.empty(tensor.shape).normal_(0, 0.05, generator=generator))
    ours.load_state_dict(state)
    reference = BUILDERS[request.param]()
    reference.load_state_dict(state)
    return ours.eval(), reference.eval()


@torch.no_grad()
def test_random_subnets_give_the_same_logits_and_configs(pair: tuple[OfaSupernet, Any]) -> None:
    ours, reference = pair
    images = torch.randn(2, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(1))
    for seed in range(DRAWS):
        random.seed(seed)
        wanted = reference.sample_active_subnet()
        random.seed(seed)
        assert ours.sample_active_subnet() == wanted
        assert ours.runtime_depth == reference.runtime_depth
        logits = reference(images)
        scale = logits.abs().max()
        assert (ours(images) - logits).abs().max() <= 1e-5 * scale
        subnet = ours.get_active_subnet()
        assert (subnet(images) - logits).abs().max() <= 1e-5 * scale


@torch.no_grad()
def test_static_networks_exchange_weights_and_configs(pair: tuple[OfaSupernet, Any]) -> None:
    ours, reference = pair
    for seed in range(3):
        random.seed(seed)
        reference.sample_active_subnet()
        random.seed(seed)
        ours.sample_active_subnet()
        static, subnet = reference.get_active_subnet(), ours.get_active_subnet()
        assert json.loads(json.dumps(static.config)) == subnet.config
        state = subnet.state_dict()
        assert {name: tuple(t.shape) for name, t in static.state_dict().items()} == {
            name: tuple(t.shape) for name, t in state.items()
        }
        subnet.load_state_dict(static.state_dict())
        static.load_state_dict(state)


def test_supernet_state_has_the_references_names_and_shapes(pair: tuple[OfaSupernet, Any]) -> None:
    ours, reference = pair
    assert ours.grouped_block_index == reference.grouped_block_index
    assert [(n, p.shape) for n, p in ours.named_parameters()] == [
        (n, p.shape) for n, p in reference.named_parameters()
    ]
    assert {name: tuple(t.shape) for name, t in ours.state_dict().items()} == {
        name: tuple(t.shape) for name, t in reference.state_dict().items()
    }
