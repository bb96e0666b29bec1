"""Exact MACs and parameter counts of architectures, one or a million at a time, in numpy.

Counted as the reference counts: convolutions and fully connected layers, squeeze-excite
included; not batch norm, activations, pooling, biases or additions. A test holds every figure
equal to what hooks count on the extracted network.
"""

from ofa_pipeline.cost.estimate import ArchCost, arch_cost, estimate_cost, latency_features
from ofa_pipeline.cost.finetuning import finetuning_epochs, round_lengths
from ofa_pipeline.cost.tally import Cost

__all__ = [
    "ArchCost",
    "Cost",
    "arch_cost",
    "estimate_cost",
    "finetuning_epochs",
    "latency_features",
    "round_lengths",
]
