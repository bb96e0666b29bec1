"""Mixed precision: bfloat16 where the device computes it fast, float32 where sums are kept."""

from collections.abc import Iterator

import torch
from torch import nn

from ofa_pipeline.supernet import ElasticBatchNorm

_NORMS = (ElasticBatchNorm, nn.BatchNorm2d)


def mixes_precision(device: torch.device) -> bool:
    """Return whether networks are trained in bfloat16, which needs no loss scaling: on CUDA."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def autocast(device: torch.device) -> torch.autocast:
    """Return mixed precision for devices that train in it; for others nothing changes."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixes_precision(device))


def rounded_parameters(network: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters that mixed precision rounds to bfloat16: all but those of batch norms.

    Batch norms take features of bfloat16 and scales of float32.
    """
    for module in network.modules():
        if not isinstance(module, _NORMS):
            yield from module.parameters(recurse=False)
