"""Nesterov SGD with weight decay where it belongs."""

import torch
from torch import nn


def parameter_groups(network: nn.Module, *, weight_decay: float) -> list[dict[str, object]]:
    """Split the parameters into those that decay and those that do not.

    Weights of convolutions and of fully connected layers decay. Biases, batch norm, and the
    kernel-transform matrices do not: the matrices start as identity, and decay towards zero
    would pull the smaller kernels to nothing.

    Source:
        No decay on norm and bias: the reference, by substring of the name; here by shape. It
        decays the matrices towards zero; docs/adr/0022.
    """
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        is_layer_weight = name.rpartition(".")[2] == "weight" and parameter.ndim > 1
        (decayed if is_layer_weight else free).append(parameter)
    groups: list[dict[str, object]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(
    network: nn.Module, *, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return Nesterov SGD whose parameters all have a gradient from the start: zero.

    A weight that no sampled subnet used then has gradient zero, not none, so it keeps its
    momentum and its decay like the unused channels of a used weight do (docs/adr/0021).
    """
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return torch.optim.SGD(
        parameter_groups(network, weight_decay=weight_decay),
        lr=0.0,
        momentum=momentum,
        nesterov=momentum > 0,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
