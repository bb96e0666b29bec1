"""A network as steps and weights, for those who write it in the format of a runtime."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.devices.quiet import torch_threads
from ofa_pipeline.devices.runtime import Images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

Step = Mapping[str, Any]
"""See `ofa_pipeline.devices.network`: step i makes value i + 1, value 0 are the images."""
_BATCH_SIZE = 32
"""Images at a time: all values of a batch are in memory."""


@dataclass(frozen=True, slots=True)
class LoweredNetwork:
    """What the file of a PyTorch device holds, ready to be written in another format."""

    steps: Sequence[Step]
    weights: Mapping[str, NDArray[np.float32]]


def lower(network: "nn.Module") -> LoweredNetwork:
    """Return the steps of a network, batch norm folded into its weights.

    Args:
        network: From images (N, 3, H, W) to logits; not changed.

    Raises:
        ExportError: If it does something that no step says.
    """
    from safetensors.numpy import load

    from ofa_pipeline.devices.lowering import network_bytes
    from ofa_pipeline.devices.network import read_description

    content = network_bytes(network)
    return LoweredNetwork(read_description(content)["steps"], load(content))


def shapes_of(network: LoweredNetwork, *, resolution_px: int) -> list[tuple[int, ...]]:
    """Return the shape of each value for one image: (1, C, H, W) or (1, C)."""
    one = np.zeros((1, 3, resolution_px, resolution_px), np.float32)
    with torch_threads(1):
        return [tuple(value.shape) for value in _values(network, one)]


def ranges_of(network: LoweredNetwork, calibration: Sequence[Images]) -> list[tuple[float, float]]:
    """Return the lowest and highest number of each value; the same for the same batches.

    Args:
        network: In float32.
        calibration: Prepared images, in batches (N, 3, H, W).
    """
    low = np.full(len(network.steps) + 1, np.inf)
    high = -low
    with torch_threads(1):
        for batch in calibration:
            for start in range(0, len(batch), _BATCH_SIZE):
                for index, value in enumerate(_values(network, batch[start : start + _BATCH_SIZE])):
                    low[index] = min(low[index], float(value.min()))
                    high[index] = max(high[index], float(value.max()))
    return list(zip(low.tolist(), high.tolist(), strict=True))


def pair(number: "int | Sequence[int]") -> tuple[int, int]:
    """Return a number for rows and one for columns, which may be given as one."""
    if isinstance(number, int):
        return number, number
    rows, columns = number
    return rows, columns


def nhwc(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return (1, C, H, W) as (1, H, W, C), and (1, C) as (1, 1, 1, C)."""
    _, channels, *pixels = shape
    height, width = pixels or (1, 1)
    return 1, height, width, channels


def fused_activations(
    steps: Sequence[Step], *, activations: Collection[str], before: Collection[str]
) -> Mapping[int, int]:
    """Return the value after its activation, by value, where one operator computes both.

    Args:
        steps: Of a network.
        activations: Operations that the operator before them can compute, too.
        before: Operations of such operators.
    """
    uses: dict[int, list[int]] = {}
    for index, step in enumerate(steps):
        for source in step["inputs"]:
            uses.setdefault(source, []).append(index)
    fused = {}
    for index, step in enumerate(steps):
        users = uses.get(index + 1, [])
        if step["operation"] in before and len(users) == 1:
            [user] = users
            if steps[user]["operation"] in activations:
                fused[index + 1] = user + 1
    return fused


def _values(network: LoweredNetwork, images: Images) -> "Iterator[Tensor]":
    """Yield the images and what each step makes of the values before it."""
    import torch

    from ofa_pipeline.devices.network import OPERATIONS

    weights = {name: torch.from_numpy(weight) for name, weight in network.weights.items()}
    values = [torch.from_numpy(images)]
    with torch.inference_mode():
        yield values[0]
        for step in network.steps:
            arguments = {name: weights[key] for name, key in step.get("weights", {}).items()}
            inputs = [values[source] for source in step["inputs"]]
            values.append(
                OPERATIONS[step["operation"]](*inputs, **arguments, **step.get("options", {}))
            )
            yield values[-1]
