"""The catalogue of published networks."""

import pytest

from ofa_pipeline.errors import ArchError
from ofa_pipeline.reference.zoo import published_network, published_networks


def test_catalogue_has_the_58_published_networks_once_each() -> None:
    names = [network.name for network in published_networks()]
    assert len(names) == len(set(names)) == 58
    assert sum(network.has_arch for network in published_networks()) == 50


def test_network_is_found_by_either_spelling_and_by_alias() -> None:
    by_name = published_network("note10_lat-64ms_top1-80.2_finetune-75")
    assert published_network("note10_lat@64ms_top1@80.2_finetune@75") is by_name
    assert published_network("ofa-note10-64") is by_name
    assert by_name.device == "note10"
    assert by_name.published_latency_ms == 64.0


def test_unknown_network_suggests_the_nearest() -> None:
    with pytest.raises(ArchError, match=r"note10_lat-64ms_top1-80\.2_finetune-75"):
        published_network("note10_lat-64ms_top1-80.3_finetune-75")


def test_resnet_without_architecture_says_how_to_get_it() -> None:
    network = published_network("resnet50D_MAC@4.1B_top1@79.8")
    assert not network.has_arch
    with pytest.raises(ArchError, match=r"zoo get resnet50D_MAC-4\.1B"):
        _ = network.arch


@pytest.mark.parametrize(
    "network",
    [n for n in published_networks() if n.has_arch and n.supernet.startswith("ofa_mbv3")],
    ids=lambda network: network.name,
)
def test_every_published_architecture_belongs_to_its_space(network) -> None:
    network.space.check(network.arch)
