"""Take a subnet out of a supernet, and put batch-norm statistics back."""

import torch
from torch import Tensor

from ofa_pipeline.arch import Arch
from ofa_pipeline.supernet.build import Subnet, Supernet, empty_subnet
from ofa_pipeline.supernet.elastic_ops import ElasticDepthwiseConv


@torch.no_grad()
def extract_subnet(supernet: Supernet, arch: Arch) -> Subnet:
    """Copy one architecture out as a plain network, in evaluation mode.

    On the CPU its logits equal those of ``supernet(images, arch)`` in evaluation mode bit for
    bit. Its batch-norm statistics are the supernet's, which are of the largest subnet:
    calibrate it before its accuracy is measured.

    Args:
        supernet: Left as it is.
        arch: An architecture of the supernet's space.

    Raises:
        ArchError: If the architecture is not of the space.
    """
    subnet = empty_subnet(
        supernet.space, arch, num_classes=supernet.num_classes, dropout=supernet.dropout
    )
    source = supernet.state_dict()
    elastic = dict(supernet.named_modules())
    state: dict[str, Tensor] = {}
    for name, wanted in subnet.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.long)
            continue
        module = elastic[name.rpartition(".")[0]]
        if isinstance(module, ElasticDepthwiseConv):
            value = module.kernel(wanted.shape[0], wanted.shape[-1])
        else:
            value = source[name][tuple(slice(size) for size in wanted.shape)]
        memory_format = torch.channels_last if value.ndim == 4 else torch.contiguous_format  # noqa: PLR2004
        state[name] = value.clone(memory_format=memory_format)
    subnet.load_state_dict(state, assign=True)
    return subnet.eval()


@torch.no_grad()
def store_statistics(supernet: Supernet, calibrated_largest_subnet: Subnet) -> None:
    """Put calibrated batch-norm statistics into the supernet's buffers.

    Args:
        supernet: Whose buffers are overwritten.
        calibrated_largest_subnet: Extracted from it and calibrated.

    Raises:
        ValueError: If the subnet is not the largest one of the supernet's space.
    """
    if calibrated_largest_subnet.arch != supernet.space.largest:
        raise ValueError(
            "statistics must come from the largest subnet, "
            f"{supernet.space.largest}, got {calibrated_largest_subnet.arch}. "
            "Extract supernet.space.largest and calibrate it."
        )
    found = dict(calibrated_largest_subnet.named_buffers())
    for name, buffer in supernet.named_buffers():
        buffer.copy_(found[name])
