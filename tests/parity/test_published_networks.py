"""The 50 published networks: architectures, MACs and parameters as the reference has them."""

import json
from dataclasses import replace

import pytest

from ofa_pipeline.cost import arch_cost
from ofa_pipeline.reference.zoo import published_networks, read_net_config, write_net_config
from tests.support.shared import shared_path

WITH_ARCH = [network for network in published_networks() if network.has_arch]


@pytest.mark.parametrize("network", WITH_ARCH, ids=lambda network: network.name)
def test_published_config_is_the_catalogues_architecture(network) -> None:
    folder = shared_path("official/ofa_specialized") / network.name
    spec = read_net_config(json.loads((folder / "net.config").read_text()))
    size = json.loads((folder / "run.config").read_text())["image_size"]
    assert replace(spec.arch, resolution_px=size) == network.arch
    assert (spec.num_classes, spec.dropout) == (network.num_classes, network.dropout)


@pytest.mark.parametrize("network", WITH_ARCH, ids=lambda network: network.name)
def test_cost_equals_the_references_count(network) -> None:
    computed = {
        row["name"]: row for row in json.loads(shared_path("official/published.json").read_text())
    }[network.name]
    cost = arch_cost(network.space, network.arch, num_classes=network.num_classes)
    assert round(cost.macs / 1e6, 2) == computed["macs_m"]
    assert round(cost.num_params / 1e6, 3) == computed["params_m"]


def test_golden_configs_are_read_and_written_alike() -> None:
    cases = json.loads(shared_path("golden/mechanics.json").read_text())["net_config"]
    assert len(cases) == 8
    for case in cases:
        assert write_net_config(read_net_config(case["config"])) == case["config"]
