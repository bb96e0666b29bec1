"""Fold batch norm into convolutions, for inference."""

import copy

import torch
from torch import nn

from ofa_pipeline.supernet.build import Subnet
from ofa_pipeline.supernet.subnet import ConvNorm


@torch.no_grad()
def fold_batch_norm(subnet: Subnet) -> Subnet:
    """Return a copy whose convolutions do the work of the batch norms behind them.

    The scale is computed in double precision, so the logits differ by rounding only. The copy
    is for inference: it has no batch norm to train or calibrate.

    Args:
        subnet: Calibrated; left as it is.
    """
    folded = copy.deepcopy(subnet).eval()
    for module in folded.modules():
        if isinstance(module, ConvNorm):
            _fold(module)
    return folded


def _fold(module: ConvNorm) -> None:
    conv, norm = module.get_submodule("conv"), module.get_submodule("norm")
    if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
        return  # folded before
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight = conv.weight.double()
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = norm.bias.double() - norm.running_mean.double() * scale
    conv.weight.copy_(weight * scale[:, None, None, None])
    conv.bias = nn.Parameter(bias.to(conv.weight.dtype))
    module.norm = nn.Identity()
