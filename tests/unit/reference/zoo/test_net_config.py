"""Reading and writing the reference's net.config."""

import json
from typing import Any

import numpy as np
import pytest

from ofa_pipeline.errors import CheckpointError
from ofa_pipeline.reference.zoo import NetworkSpec, read_net_config, write_net_config
from ofa_pipeline.spaces import REFERENCE_SPACES, reference_space


def spec_of(space_id: str, *, seed: int) -> NetworkSpec:
    space = reference_space(space_id).restrict(resolutions_px=(224,))
    arch = space.archs(space.sample(np.random.default_rng(seed), 1))[0]
    space = reference_space(space_id)
    return NetworkSpec(space=space, arch=arch, num_classes=7, dropout=0.1)


def config_of(space_id: str) -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(write_net_config(spec_of(space_id, seed=3))))
    return copied


@pytest.mark.parametrize("space_id", sorted(REFERENCE_SPACES))
@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_is_read_back(space_id: str, seed: int) -> None:
    spec = spec_of(space_id, seed=seed)
    read = read_net_config(json.loads(json.dumps(write_net_config(spec))))
    assert write_net_config(read) == write_net_config(spec)
    assert (read.num_classes, read.dropout) == (7, 0.1)
    assert read.arch.depths == spec.arch.depths
    assert read.arch.expand_ratios == spec.arch.expand_ratios


def test_older_spelling_is_read() -> None:
    config = config_of("ofa_mbv3_d234_e346_k357_w1.0")
    wanted = read_net_config(config)
    config["bn"].pop("ws_eps")
    config["first_conv"].pop("use_se")
    for block in config["blocks"]:
        block["name"] = "MobileInvertedResidualBlock"
        block["mobile_inverted_conv"] = {**block.pop("conv"), "name": "MBInvertedConvLayer"}
        block["mobile_inverted_conv"].pop("groups")
        if block["shortcut"] is not None:
            for key in ("in_channels", "out_channels"):
                block["shortcut"][key] = [block["shortcut"][key]]
    assert read_net_config(config) == wanted


def test_unknown_layer_name_is_named_with_the_nearest() -> None:
    config = config_of("ofa_mbv3_d234_e346_k357_w1.0")
    config["blocks"][2]["conv"]["name"] = "MBConvLayr"
    with pytest.raises(CheckpointError, match=r"'MBConvLayr'.*MBConvLayer"):
        read_net_config(config)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("blocks", 1, "conv", "use_se"), True, r"blocks\[1\]\.conv\.use_se must be False"),
        (("blocks", 3, "conv", "kernel_size"), 9, "3, 5, 7, got 9"),
        (("blocks", 1, "conv", "mid_channels"), 33, "mid_channels must be"),
        (("first_conv", "out_channels"), 17, "none of the four supernets"),
        (("first_conv", "dilation"), 2, "dilation must be 1"),
        (("classifier", "bias"), False, "bias must be True"),
    ],
)
def test_value_that_does_not_fit_is_named(path: tuple[Any, ...], value: Any, message: str) -> None:
    config = config_of("ofa_mbv3_d234_e346_k357_w1.0")
    target: Any = config
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(CheckpointError, match=message):
        read_net_config(config)


@pytest.mark.parametrize("config", [{}, {"name": "MobileNetV4"}, {"name": "ResNets"}])
def test_what_is_no_net_config_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError):
        read_net_config(config)
