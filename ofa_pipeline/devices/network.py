"""A network as a file of steps and weights, run by PyTorch: its whole runtime is this module.

Bundles of PyTorch devices carry a copy of this file, so it needs torch and safetensors and
nothing of this package. What is measured, what is evaluated and what ships is the same file, run
by this code.

A file is a safetensors file. Its metadata hold the steps as JSON, each an operation of
`OPERATIONS` on values that are there; value 0 are the images, step i makes value i, the last one
are the logits. Nothing in it is executed but these operations.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from torch import Tensor

FORMAT = 1
METADATA_KEY = "network"
FEATURE_DIMENSIONS = 4
"""Images or channels, channels, height, width."""


def _mean_over_pixels(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def _as_pixel(x: Tensor) -> Tensor:
    """Turn (N, C) into (N, C, 1, 1)."""
    return x[:, :, None, None]


OPERATIONS: Mapping[str, Callable[..., Tensor]] = {
    "conv2d": F.conv2d,
    "linear": F.linear,
    "relu": F.relu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "max_pool2d": F.max_pool2d,
    "avg_pool2d": F.avg_pool2d,
    "mean_over_pixels": _mean_over_pixels,
    "as_pixel": _as_pixel,
    "add": torch.add,
    "multiply": torch.mul,
}
"""What a step may do, by name."""


class Network:
    """A network in PyTorch, in channels-last memory; for inference only."""

    def __init__(self, content: bytes, *, device: str = "cpu") -> None:
        """Read a network.

        Args:
            content: What the file holds: steps and weights.
            device: Where it computes, as torch calls it.

        Raises:
            ValueError: If it is not such a file, or needs another version of this code.
        """
        description = read_description(content)
        if description.get("format") != FORMAT:
            raise ValueError(
                f"a network of format {FORMAT} is wanted, found {description.get('format')!r}"
            )
        self.device = torch.device(device)
        weights = {name: self._place(weight) for name, weight in load_tensors(content).items()}
        steps = description["steps"]
        last_use = {value: index for index, step in enumerate(steps) for value in step["inputs"]}
        self._steps = [
            (
                _function(step, weights),
                tuple(step["inputs"]),
                tuple(value for value in step["inputs"] if last_use[value] == index),
            )
            for index, step in enumerate(steps)
        ]

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes) of images (N, 3, H, W) that `place` prepared."""
        values: list[Tensor | None] = [images]
        for function, inputs, spent in self._steps:
            values.append(function(*[values[value] for value in inputs]))
            for value in spent:
                values[value] = None
        logits = values[-1]
        assert logits is not None
        return logits

    def place(self, images: Tensor) -> Tensor:
        """Bring images to where the network computes, in the memory format that it wants."""
        return self._place(images)

    def _place(self, tensor: Tensor) -> Tensor:
        placed = tensor.to(self.device)
        if placed.ndim == FEATURE_DIMENSIONS:
            return placed.contiguous(memory_format=torch.channels_last)
        return placed


def read_description(content: bytes) -> dict[str, Any]:
    """Return the steps in a network's file.

    Raises:
        ValueError: If it is not such a file.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        description: dict[str, Any] = json.loads(metadata[METADATA_KEY])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a file with a network: {error!r}") from error
    return description


def _function(step: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Callable[..., Tensor]:
    operation = step["operation"]
    if operation not in OPERATIONS:
        raise ValueError(f"unknown operation {operation!r}; known: {', '.join(OPERATIONS)}")
    tensors = {name: weights[key] for name, key in step.get("weights", {}).items()}
    options = step.get("options", {})
    if not tensors and not options:
        return OPERATIONS[operation]
    return partial(OPERATIONS[operation], **tensors, **options)
