"""Our parameter names and the reference's, both ways.

The reference has two spellings: that of supernets, where elastic layers are nested one level
deeper (``.conv.conv.weight``, ``.bn.bn.weight``), and that of static networks. Block indices count
from the static first block; in a static network they count the blocks that run.
"""

import itertools
from typing import Literal

import torch
from torch import Tensor

from ofa_pipeline.arch import ResNetBackbone
from ofa_pipeline.supernet import Subnet, Supernet

Spelling = Literal["supernet", "static"]
NUM_BATCHES = "num_batches_tracked"

_MBCONV_LAYERS = {
    "expand": "inverted_bottleneck",
    "depthwise": "depth_conv",
    "project": "point_linear",
}


def own_spelling(network: Supernet | Subnet) -> Spelling:
    """Return the spelling that the reference uses for such a network."""
    return "static" if isinstance(network, Subnet) else "supernet"


def reference_names(network: Supernet | Subnet, spelling: Spelling) -> dict[str, str]:
    """Return the reference's key of each of our parameters and buffers.

    Args:
        network: A supernet or subnet of any family.
        spelling: The reference's spelling for supernets or that for static networks.
    """
    names = [name for name in network.state_dict() if not name.endswith(NUM_BATCHES)]
    is_nested = spelling == "supernet"
    backbone = network.space.backbone
    if isinstance(backbone, ResNetBackbone):
        stem_blocks = len(list(network.get_submodule("groups.0").children()))
        blocks = _block_indices(network, first=-stem_blocks)
        return {name: _resnet_name(name, blocks, nested=is_nested) for name in names}
    blocks = _block_indices(network, first=1)
    has_mix = backbone.feature_mix_channels is not None
    return {name: _mbconv_name(name, blocks, nested=is_nested, has_mix=has_mix) for name in names}


def to_reference(network: Supernet | Subnet) -> dict[str, Tensor]:
    """Return the weights by the reference's keys and in its shapes, in its own spelling."""
    names = reference_names(network, own_spelling(network))
    state: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        if name.endswith(NUM_BATCHES):
            continue
        key = names[name]
        state[key] = tensor.reshape(reference_shape(name, tensor)).contiguous().clone()
        if name.endswith("running_var"):
            state[key.replace("running_var", NUM_BATCHES)] = torch.zeros((), dtype=torch.long)
    return state


def reference_shape(name: str, tensor: Tensor) -> tuple[int, ...]:
    """Return the reference's shape of one of our tensors.

    Squeeze-excite and the feature mix are 1x1 convolutions there, fully connected layers here.
    """
    is_convolution_there = name.endswith(".weight") and (".se." in name or "feature_mix" in name)
    return (*tensor.shape, 1, 1) if is_convolution_there else tuple(tensor.shape)


def _block_indices(network: Supernet | Subnet, *, first: int) -> dict[tuple[str, str], int]:
    """Number the blocks that are there, by group and position."""
    numbers = itertools.count(first)
    groups = network.get_submodule("groups")
    return {
        (group_name, block_name): next(numbers)
        for group_name, group in groups.named_children()
        for block_name, _ in group.named_children()
    }


def _mbconv_name(
    name: str, blocks: dict[tuple[str, str], int], *, nested: bool, has_mix: bool
) -> str:
    part, _, rest = name.partition(".")
    match part:
        case "stem":
            return f"first_conv.{_conv_norm(rest, nested=False)}"
        case "first_block":
            return f"blocks.0.conv.{_mbconv_layer(rest, nested=False)}"
        case "groups":
            group, block, layer = rest.split(".", 2)
            return f"blocks.{blocks[group, block]}.conv.{_mbconv_layer(layer, nested=nested)}"
        case "final":
            layer = "final_expand_layer" if has_mix else "feature_mix_layer"
            return f"{layer}.{_conv_norm(rest, nested=False)}"
        case "feature_mix":
            return "feature_mix_layer.conv.weight"
        case _:
            assert part == "classifier", name
            return f"classifier.linear.{rest}"


def _mbconv_layer(name: str, *, nested: bool) -> str:
    layer, _, rest = name.partition(".")
    if layer == "se":
        return f"depth_conv.se.fc.{rest}"
    return f"{_MBCONV_LAYERS[layer]}.{_conv_norm(rest, nested=nested)}"


def _resnet_name(name: str, blocks: dict[tuple[str, str], int], *, nested: bool) -> str:
    part, _, rest = name.partition(".")
    has_stem_block = ("0", "0") in blocks
    match part:
        case "stem_in":
            return f"input_stem.0.{_conv_norm(rest, nested=nested)}"
        case "stem_out":
            return f"input_stem.{1 + has_stem_block}.{_conv_norm(rest, nested=nested)}"
        case "groups":
            group, block, rest = rest.split(".", 2)
            if group == "0":
                return f"input_stem.1.conv.{_conv_norm(rest, nested=nested)}"
            layer, _, rest = rest.partition(".")
            return f"blocks.{blocks[group, block]}.{layer}.{_conv_norm(rest, nested=nested)}"
        case _:
            assert part == "classifier", name
            return f"classifier.linear.linear.{rest}" if nested else f"classifier.linear.{rest}"


def _conv_norm(name: str, *, nested: bool) -> str:
    layer, _, rest = name.partition(".")
    if layer == "norm":
        return f"bn.bn.{rest}" if nested else f"bn.{rest}"
    if rest.startswith("transforms."):
        return f"conv.{rest.removeprefix('transforms.').replace('_to_', 'to')}_matrix"
    return f"conv.conv.{rest}" if nested else f"conv.{rest}"
