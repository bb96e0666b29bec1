"""What `hubconf.py` offers: the reference's supernets and specialized networks."""

from collections.abc import Callable
from pathlib import Path

from ofa_pipeline.reference.checkpoints import read_reference_checkpoint
from ofa_pipeline.reference.hub.networks import OfaSubnet, OfaSupernet
from ofa_pipeline.reference.zoo import (
    fetch_file,
    load_spec,
    published_network,
    specialized_file,
    supernet_file,
)
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import build_subnet, build_supernet

NUM_CLASSES = 1000


def ofa_supernet(
    supernet_id: str,
    *,
    pretrained: bool = True,
    checkpoint: str | Path | None = None,
    num_classes: int = NUM_CLASSES,
) -> OfaSupernet:
    """Return one of the reference's supernets.

    Args:
        supernet_id: For example ``ofa_mbv3_d234_e346_k357_w1.0``.
        pretrained: Load the published weights, from the cache or the network.
        checkpoint: Load this file instead.
        num_classes: Length of the logits. With weights of another number the classifier keeps
            its random weights, and a log line says so.

    Raises:
        ArchError: If the name is unknown.
        MissingArtifactError: If the weights cannot be downloaded; the message says where to put
            a local copy.
        CheckpointError: If the file is not a checkpoint of this supernet.
    """
    space = reference_space(supernet_id)
    supernet = build_supernet(space, num_classes=num_classes)
    path = Path(checkpoint) if checkpoint else None
    if path is None and pretrained:
        path = fetch_file(supernet_file(supernet_id))
    if path is not None:
        read_reference_checkpoint(supernet, path, replace_head=True)
    return OfaSupernet(supernet)


def ofa_specialized(
    net_id: str,
    pretrained: bool = True,
    *,
    checkpoint: str | Path | None = None,
) -> tuple[OfaSubnet, int]:
    """Return one of the reference's published networks, and its image size in pixels.

    Args:
        net_id: Name (with ``@`` or ``-``) or alias; `ofa-pipeline zoo list` shows them.
        pretrained: Load the published weights, from the cache or the network.
        checkpoint: Load this file instead.

    Raises:
        ArchError: If the name is unknown.
        MissingArtifactError: If a file cannot be downloaded; the message says where to put a local
            copy.
        CheckpointError: If the weights do not fit the network.
    """
    spec, resolution_px = load_spec(net_id)
    subnet = build_subnet(spec.space, spec.arch, num_classes=spec.num_classes, dropout=spec.dropout)
    path = Path(checkpoint) if checkpoint else None
    if path is None and pretrained:
        path = fetch_file(specialized_file(published_network(net_id).name, "init"))
    if path is not None:
        read_reference_checkpoint(subnet, path)
    return OfaSubnet(subnet), resolution_px


def ofa_specialized_get() -> Callable[..., tuple[OfaSubnet, int]]:
    """Return `ofa_specialized`, as the reference's entry point of this name does."""
    return ofa_specialized
