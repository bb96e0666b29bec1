"""What `ofa-pipeline evaluate` can evaluate: found by its name, brought into one form."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import Layout, Manifest, digest_input
from ofa_pipeline.cli.chosen import VERSION_PREFIX
from ofa_pipeline.data import IMAGENET_NORMALIZATION, Normalization
from ofa_pipeline.errors import ArchError, ManifestMismatchError, ParamsError, suggest
from ofa_pipeline.reference.zoo import published_networks
from ofa_pipeline.spaces import REFERENCE_SPACES, reference_space
from ofa_pipeline.temporary import temporary_folder

if TYPE_CHECKING:
    from ofa_pipeline.supernet import Subnet

DATASET = "artifacts/dataset"
"""In a lineage."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A network to evaluate, and how images are prepared for it."""

    name: str
    subnet: "Subnet"
    resolution_px: int
    num_classes: int
    needs_calibration: bool
    """Whether its batch-norm statistics are another network's."""
    normalization: Normalization | None = IMAGENET_NORMALIZATION
    """None: that of the prepared dataset that it is evaluated on."""
    class_names: tuple[str, ...] | None = None
    """By label, where the network knows them."""
    image_size_px: int | None = None
    """Side that images had before the evaluation transform; None for the reference's rule."""
    value_range: tuple[float, float] | None = None
    """Values of deep images that become 0 and 255."""
    dataset: Path | None = None
    """The prepared dataset that it was trained on, where that is at hand."""


def find_target(
    name: str,
    *,
    arch: str,
    checkpoint: Path | None,
    resolution_px: int | None,
    workspace: Path,
) -> Target:
    """Find a network by its name and load it.

    Args:
        name: A bundle folder, ``models:/MODEL/VERSION``, a supernet file of ours, the id of one
            of the reference's supernets, or the name of a published network.
        arch: Subnet of a supernet: ``largest``, ``smallest``, or an architecture as JSON.
        checkpoint: Weights of a reference's supernet or published network instead of the cache.
        resolution_px: Image size instead of the network's own.
        workspace: Whose registry is meant.

    Raises:
        ParamsError: If nothing is called so.
        ArchError: If the architecture is not of the supernet.
        MissingArtifactError: If a file is missing.
        CheckpointError: If a file cannot be read or does not fit.
    """
    path = Path(name)
    if name.startswith(VERSION_PREFIX):
        target = _registered(name, workspace)
    elif (path / Layout.SUBNET).is_file():
        target = _bundle(path, workspace)
    elif path.is_file():
        target = _own_supernet(path, arch, workspace)
    elif name in REFERENCE_SPACES:
        target = _reference_supernet(name, arch, checkpoint)
    else:
        target = _published(name, checkpoint)
    return target if resolution_px is None else replace(target, resolution_px=resolution_px)


def _registered(uri: str, workspace: Path) -> Target:
    from ofa_pipeline.registry import open_registry

    registry = open_registry(workspace)
    subnet = registry.version(uri)
    with temporary_folder("bundle") as folder:
        bundle = registry.download(subnet, folder)
        return replace(_bundle(bundle, workspace), name=uri)


def _bundle(folder: Path, workspace: Path) -> Target:
    from ofa_pipeline.specialize import load_bundle
    from ofa_pipeline.supernet import load_subnet

    bundle = load_bundle(folder)
    description = bundle.subnet
    subnet = load_subnet(folder / Layout.WEIGHTS)
    if subnet.arch != bundle.arch or subnet.num_classes != len(bundle.class_names):
        raise ManifestMismatchError(
            f"{folder / Layout.WEIGHTS} must hold the network that {folder / Layout.SUBNET} "
            f"describes, of {len(bundle.class_names)} classes; it holds another, of "
            f"{subnet.num_classes}. "
            "Fetch or build the bundle again."
        )
    return Target(
        name=str(folder),
        subnet=subnet,
        resolution_px=subnet.arch.resolution_px,
        num_classes=subnet.num_classes,
        needs_calibration=False,
        normalization=Normalization.of(description.mean, description.std),
        class_names=description.class_names,
        image_size_px=description.image_size_px,
        value_range=description.value_range,
        dataset=_dataset_of(bundle.card.lineage, (folder, workspace)),
    )


def _dataset_of(lineage: Mapping[str, str], places: Iterable[Path]) -> Path | None:
    """Return the prepared dataset of a lineage, if it is in a workspace round one of the places.

    Only what has the digest of the lineage counts: a workspace may have prepared other images.
    """
    for place in places:
        for root in (place.resolve(), *place.resolve().parents):
            folder = Layout(root).dataset
            manifest = folder / Layout.MANIFEST
            if manifest.is_file() and lineage.get(DATASET) == digest_input(folder):
                return folder
    return None


def _own_supernet(path: Path, arch: str, workspace: Path) -> Target:
    """Return a subnet of a supernet of ours, with what its dataset knows.

    The file holds no class names, nor the statistics of the images: they are those of the
    dataset that its artifact was made from, where that is still there.
    """
    from ofa_pipeline.artifacts import verify_file
    from ofa_pipeline.data import open_dataset
    from ofa_pipeline.supernet import extract_subnet, load_supernet

    if path.is_file():
        verify_file(path)
    supernet = load_supernet(path)
    subnet = extract_subnet(supernet, _arch_of(supernet.space, arch))
    target = Target(
        name=f"{path} {arch}",
        subnet=subnet,
        resolution_px=subnet.arch.resolution_px,
        num_classes=supernet.num_classes,
        needs_calibration=True,
        normalization=None,
    )
    folder = path.resolve().parent
    if not (folder / Layout.MANIFEST).is_file():
        return target
    inputs = Manifest.read(folder, made_by="ofa-pipeline run").inputs
    found = _dataset_of(inputs, (folder, workspace))
    if found is None:
        return target
    dataset = open_dataset(found)
    return replace(
        target,
        normalization=dataset.normalization,
        class_names=dataset.class_names,
        image_size_px=dataset.image_size_px,
        value_range=dataset.value_range,
        dataset=found,
    )


def _reference_supernet(supernet_id: str, arch: str, checkpoint: Path | None) -> Target:
    from ofa_pipeline.reference.checkpoints import import_reference_supernet
    from ofa_pipeline.reference.zoo import fetch_file, supernet_file
    from ofa_pipeline.supernet import extract_subnet

    space = reference_space(supernet_id)
    chosen = _arch_of(space, arch)
    supernet = import_reference_supernet(
        checkpoint or fetch_file(supernet_file(supernet_id)), space
    )
    return Target(
        name=f"{supernet_id} {arch}",
        subnet=extract_subnet(supernet, chosen),
        resolution_px=chosen.resolution_px,
        num_classes=supernet.num_classes,
        needs_calibration=True,
    )


def _published(name: str, checkpoint: Path | None) -> Target:
    from ofa_pipeline.reference.checkpoints import read_reference_checkpoint
    from ofa_pipeline.reference.zoo import (
        fetch_file,
        load_spec,
        published_network,
        specialized_file,
    )
    from ofa_pipeline.supernet import build_subnet

    known = [network.name for network in published_networks()]
    if name.replace("@", "-") not in {*known, *(n.alias for n in published_networks())}:
        raise ParamsError(
            f"{name!r} must be a bundle folder, models:/MODEL/VERSION, a supernet file, the id of "
            f"a supernet ({', '.join(REFERENCE_SPACES)}) or a published network "
            f"(ofa-pipeline zoo list).{suggest(name, [*known, *REFERENCE_SPACES])}"
        )
    spec, resolution_px = load_spec(name)
    subnet = build_subnet(spec.space, spec.arch, num_classes=spec.num_classes, dropout=spec.dropout)
    weights = specialized_file(published_network(name).name, "init")
    read_reference_checkpoint(subnet, checkpoint or fetch_file(weights))
    return Target(
        name=name,
        subnet=subnet,
        resolution_px=resolution_px,
        num_classes=spec.num_classes,
        needs_calibration=False,
    )


def _arch_of(space: SearchSpace, text: str) -> Arch:
    if text in ("largest", "smallest"):
        return space.largest if text == "largest" else space.smallest
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArchError(
            f"--arch must be largest, smallest or JSON such as "
            f'{{"kernel_sizes": 3, "depths": 2, "expand_ratios": 4}}, got {text!r}'
        ) from error
    if not isinstance(values, dict):
        raise ArchError(f"--arch must be a JSON object, got {text!r}")
    known = ("resolution_px", "depths", "kernel_sizes", "expand_ratios", "width_multipliers")
    for key in values:
        if key not in known:
            raise ArchError(f"--arch has no {key!r}.{suggest(key, known)}")
    return space.arch(**values)
