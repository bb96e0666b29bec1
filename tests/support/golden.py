"""Weights and images that the golden outputs were computed with; see ../shared/golden/README.md."""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ofa_pipeline.arch import Arch, ResNetBackbone, SearchSpace
from ofa_pipeline.reference.names import own_spelling, reference_names, to_reference
from ofa_pipeline.supernet import Subnet, Supernet
from tests.support.shared import shared_path


def golden(name: str, section: str | None = None) -> list[dict[str, Any]]:
    """Read the cases of a golden file; skip the test where it is not there."""
    values = json.loads(shared_path(f"golden/{name}.json").read_text())
    cases: list[dict[str, Any]] = values if section is None else values[section]
    return cases


def golden_array(key: str, shape: Sequence[int]) -> NDArray[np.float64]:
    """Draw the entry of a state dict by its key and shape, as the reference's side did."""
    rng = np.random.RandomState(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape)
    if key.endswith("_matrix"):
        return np.eye(shape[0]) + 0.05 * rng.standard_normal(shape)
    if len(shape) > 1:
        return rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    if key.endswith(".weight"):
        return rng.uniform(0.5, 1.5, shape)
    return 0.1 * rng.standard_normal(shape)


def fill_like_the_reference(network: Supernet | Subnet) -> None:
    """Fill a network in double precision, in place, and put it in evaluation mode."""
    network.double().eval()
    names = reference_names(network, own_spelling(network))
    state = network.state_dict()
    shapes = {key: tensor.shape for key, tensor in to_reference(network).items()}
    for name, key in names.items():
        values = golden_array(key, shapes[key])
        state[name].copy_(torch.from_numpy(values).reshape(state[name].shape))


def golden_images(seed: int, *, count: int, side_px: int) -> Tensor:
    """Draw images, shape (count, 3, side, side)."""
    rng = np.random.RandomState(seed)
    return torch.from_numpy(rng.standard_normal((count, 3, side_px, side_px)))


def golden_arch(space: SearchSpace, values: Mapping[str, Any]) -> Arch:
    """Read an architecture in the reference's words (``ks``, ``e``, ``d``, ``w``)."""
    if isinstance(space.backbone, ResNetBackbone):
        return _golden_resnet_arch(space, values)
    depths = values["d"]
    if isinstance(depths, int):  # the reference clips what a group does not have
        depths = [min(depths, group.max_depth) for group in space.block_groups]
    return space.arch(depths=depths, kernel_sizes=values["ks"], expand_ratios=values["e"])


def _golden_resnet_arch(space: SearchSpace, values: Mapping[str, Any]) -> Arch:
    groups = space.block_groups
    depths, widths, ratios = values["d"], values["w"], values["e"]
    if isinstance(depths, int):
        depths = [depths] * len(groups)
    if isinstance(widths, int):
        widths = [widths] * space.num_width_sites
    if isinstance(ratios, float):
        ratios = [ratios] * (space.num_blocks - 1)
    largest = 2
    return space.arch(
        depths=[
            int(depths[0] == largest),
            *[
                group.max_depth - largest + depth
                for group, depth in zip(groups[1:], depths[1:], strict=True)
            ],
        ],
        expand_ratios=[1.0, *ratios],
        width_multipliers=[space.width_multipliers[index] for index in widths],
    )


def relative_error(found: Tensor, expected: Sequence[float]) -> float:
    """Return the largest difference of the first 8 logits, relative to the largest logit."""
    wanted = torch.tensor(expected, dtype=torch.float64)
    got = found.double()[:, :8].flatten()
    return float((got - wanted).abs().max() / wanted.abs().max())
