"""Weights to start from, of every kind."""

from collections.abc import Sequence
from pathlib import Path

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.reference.checkpoints import write_reference_checkpoint
from ofa_pipeline.specialize import write_bundle
from ofa_pipeline.supernet import (
    Subnet,
    Supernet,
    build_supernet,
    extract_subnet,
    save_subnet,
    save_supernet,
)
from tests.support import documents
from tests.support import registry as registries
from tests.support.networks import randomize


def weights_of(space: SearchSpace, *, num_classes: int = 3, seed: int = 7) -> Supernet:
    """Return a supernet whose every weight and statistic is random."""
    supernet = build_supernet(space, num_classes=num_classes, seed=seed)
    randomize(supernet, seed=seed)
    return supernet.eval()


def write_supernet(path: Path, space: SearchSpace, *, num_classes: int = 3) -> Supernet:
    """Write a supernet file of ours."""
    supernet = weights_of(space, num_classes=num_classes)
    save_supernet(supernet, path)
    return supernet


def write_checkpoint(path: Path, network: Supernet | Subnet) -> None:
    """Write a weight file of the reference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_reference_checkpoint(network, path)


def write_subnet_bundle(
    folder: Path, space: SearchSpace, arch: Arch, *, class_names: Sequence[str]
) -> Subnet:
    """Write a bundle of a subnet of random weights."""
    subnet = extract_subnet(weights_of(space, num_classes=len(class_names)), arch)
    made = registries.write_bundle(folder.with_name(f"{folder.name}.files"))
    save_subnet(subnet, made / Layout.WEIGHTS)
    described = documents.subnet_description(
        arch, space=space, class_names=tuple(class_names), num_classes=len(class_names)
    )
    write_bundle(folder, files_from=made, subnet=described, card=documents.card())
    return subnet
