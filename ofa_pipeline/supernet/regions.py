"""Batch norm and activation compiled into one region: what a large image spends its time on.

Between two convolutions features are read and written several times: for the statistics, for the
normalization, for the activation, and with groups of images that share statistics ("ghost batch
norm") for two copies more. A compiler can join most of it. Sizes are symbols to it, so that one
region serves all architectures and image sizes; a whole block would be compiled again for each.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ofa_pipeline.arch import Activation
from ofa_pipeline.errors import ParamsError
from ofa_pipeline.supernet.blocks import activate
from ofa_pipeline.supernet.elastic_ops import ElasticBatchNorm

_VARIANTS = 64
"""Of a region, each compiled when it is first met: by activation, type, groups and memory format,
and where sizes of one sample are alike by chance."""


def check_compiler() -> None:
    """Check that `torch.compile` finds here what it needs for CUDA.

    Raises:
        ParamsError: If there is no Triton, or no C compiler.
    """
    missing = [] if importlib.util.find_spec("triton") else ["Triton (pip install triton)"]
    compilers = [own] if (own := os.environ.get("CC")) else ["cc", "gcc", "clang"]
    if not any(map(shutil.which, compilers)):
        missing.append("a C compiler (such as gcc, or the one that CC names)")
    if missing:
        raise ParamsError(
            f"compute.training.compile needs {' and '.join(missing)}, not found here. Install it, "
            "or leave the setting out: torch's own kernels compute the same."
        )


def compile_regions(network: nn.Module, *, backend: str = "inductor") -> None:
    """Let batch norms of a network compute with their activation as one region in training mode.

    The function is the same, up to the order of sums. Compiling begins with the first step and
    takes some seconds for each activation.

    Args:
        network: A supernet, or anything of its layers.
        backend: Of `torch.compile`.
    """
    region = _compiled(backend)

    def normalize(norm: ElasticBatchNorm, x: Tensor, activation: Activation | None) -> Tensor:
        num_images, channels = x.shape[:2]
        return region(
            x.contiguous(memory_format=torch.channels_last),
            # Slices: the shape of a parameter itself would be a constant of the region.
            norm.weight.narrow(0, 0, channels),
            norm.bias.narrow(0, 0, channels),
            max(num_images // (norm.images_per_group or num_images), 1),
            norm.eps,
            activation,
        )

    for module in network.modules():
        if isinstance(module, ElasticBatchNorm):
            module.region = normalize


def normalize_and_activate(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: int,
    eps: float,
    activation: Activation | None,
) -> Tensor:
    """Normalize each group of images with its own statistics, then activate.

    Args:
        x: Features, shape (N, C, H, W); bfloat16 is normalized in float32.
        weight: Scales, shape (C,).
        bias: Shifts, shape (C,).
        groups: Number of groups of images; divides N.
        eps: Added to the variances.
        activation: Applied at last; None: none.
    """
    apart = torch.unflatten(x.permute(0, 2, 3, 1), 0, (groups, -1)).to(weight.dtype)
    variance, mean = torch.var_mean(apart, (1, 2, 3), correction=0, keepdim=True)
    y = (apart - mean) * (torch.rsqrt(variance + eps) * weight) + bias
    y = y.to(x.dtype).flatten(0, 1).permute(0, 3, 1, 2)
    return F.relu(y) if activation == "relu" else activate(y, activation)


@cache
def _compiled(backend: str) -> Callable[..., Tensor]:
    """Return the region of this process; one, so that all networks share what is compiled."""
    settings: Any = torch._dynamo.config
    settings.recompile_limit = max(settings.recompile_limit, _VARIANTS)
    compiled: Callable[..., Tensor] = torch.compile(
        normalize_and_activate, dynamic=True, fullgraph=True, backend=backend
    )
    return compiled
