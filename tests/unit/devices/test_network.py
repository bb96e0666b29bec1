"""Networks as steps and weights: bit for bit what the modules compute, and nothing else."""

import json
from functools import partial

import pytest
import torch
from safetensors.torch import save
from torch import nn

from ofa_pipeline.devices import inference_form
from ofa_pipeline.devices.lowering import network_bytes
from ofa_pipeline.devices.network import OPERATIONS, Network, read_description
from ofa_pipeline.errors import ExportError
from ofa_pipeline.latency import build_measured_subnet
from ofa_pipeline.spaces import mobilenet_v3, proxyless, resnet50
from tests.support.runtimes import tiny_space, tiny_subnet

SPACES = {
    "tiny": tiny_space,
    "mobilenet_v3": partial(mobilenet_v3, width_multiplier=1.0),
    "proxyless": partial(proxyless, width_multiplier=1.0),
    "resnet50": resnet50,
}


@pytest.mark.parametrize("name", SPACES)
def test_file_computes_bit_for_bit_what_the_network_computes(name):
    space = SPACES[name]()
    arch = space.largest if name == "tiny" else space.smallest  # of the others, for time's sake
    subnet = build_measured_subnet(space, arch, num_classes=3)
    images = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    expected = inference_form(subnet).to(memory_format=torch.channels_last)
    network = Network(network_bytes(subnet))
    with torch.inference_mode():
        assert torch.equal(network(network.place(images)), expected(images))


def test_same_network_gives_the_same_bytes():
    assert network_bytes(tiny_subnet()) == network_bytes(tiny_subnet())


def test_writing_leaves_the_network_alone():
    subnet = tiny_subnet().train()
    before = {name: value.clone() for name, value in subnet.state_dict().items()}
    network_bytes(subnet)
    assert subnet.training
    assert all(torch.equal(before[name], value) for name, value in subnet.state_dict().items())


def test_values_are_let_go_after_their_last_use():
    content = network_bytes(tiny_subnet(tiny_space().largest))
    steps = Network(content)._steps
    given_back = [value for _, _, spent in steps for value in spent]
    assert len(given_back) == len(set(given_back)) == len(steps)


class Sine(nn.Module):
    def forward(self, x):
        return torch.sin(x)


class Halved(nn.Module):
    def forward(self, x):
        return x * 0.5


class Rows(nn.Module):
    def forward(self, x):
        return x.mean(2)


@pytest.mark.parametrize(
    "network",
    [Sine(), Halved(), Rows(), nn.Conv2d(3, 3, 1, padding="same"), nn.BatchNorm2d(3)],
    ids=lambda network: type(network).__name__,
)
def test_network_that_steps_cannot_say_is_refused(network):
    with pytest.raises(ExportError, match="must consist of convolutions"):
        network_bytes(nn.Sequential(network))


def file_of(description, **tensors):
    text = description if isinstance(description, str) else json.dumps(description)
    return save(tensors, {"network": text})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file with a network"),
        (b"PK\x03\x04 something else", "not a file with a network"),
        (save({"a": torch.zeros(1)}), "not a file with a network"),
        (file_of("{"), "not a file with a network"),
        (file_of({"format": 2, "steps": []}), "format 1 is wanted, found 2"),
        (
            file_of({"format": 1, "steps": [{"operation": "eval", "inputs": [0]}]}),
            "unknown operation 'eval'",
        ),
    ],
)
def test_file_that_is_no_network_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        Network(content)


def test_steps_name_known_operations_and_values_that_are_there():
    description = read_description(network_bytes(tiny_subnet(tiny_space().largest)))
    for index, step in enumerate(description["steps"]):
        assert step["operation"] in OPERATIONS
        assert all(value <= index for value in step["inputs"])
