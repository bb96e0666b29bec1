"""Find the weights that params.yaml names, compare their digest, and read them."""

from dataclasses import dataclass
from pathlib import Path

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.artifacts import Layout, digest_file, verify_file, workspace_of
from ofa_pipeline.documents import ClassNames, read_document
from ofa_pipeline.errors import CheckpointError, MissingArtifactError, RegistryError, suggest
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.reference.checkpoints import import_reference_supernet
from ofa_pipeline.reference.zoo import cached_file, fetch_file, supernet_file
from ofa_pipeline.registry import ANY_DATASET, open_registry
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.specialize import load_bundle
from ofa_pipeline.supernet import Subnet, Supernet, load_subnet, load_supernet
from ofa_pipeline.temporary import temporary_folder
from ofa_pipeline.user import expand_home
from ofa_pipeline.weights_source import WeightsSource


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundWeights:
    """A network with the weights that a source holds."""

    source: WeightsSource
    network: Supernet | Subnet
    sha256: str
    """SHA-256 of the weight file."""
    class_names: tuple[str, ...] | None
    """By label; None where the source does not say them."""


def is_at_hand(source: WeightsSource) -> bool:
    """Return whether weights can be read without a download from the internet.

    Raises:
        CheckpointError: If a published file was changed since it was downloaded.
    """
    return source.kind != "published" or cached_file(supernet_file(source.name)) is not None


def read_weights(
    source: WeightsSource, *, root: Path, space: SearchSpace, reporter: Reporter = SILENT
) -> FoundWeights:
    """Read weights; a published supernet is downloaded first where it is not in the cache.

    Args:
        source: What params.yaml names.
        root: The workspace: relative paths are meant from there, and the registry is its own.
        space: Space of params.yaml; a checkpoint of the reference must fit its names and shapes.
        reporter: Is told of a download.

    Raises:
        MissingArtifactError: If there is no such file, or it cannot be downloaded.
        CheckpointError: If a file cannot be read, does not fit, or has another digest.
        ManifestMismatchError: If an artifact or bundle is not as it was written.
        RegistryError: If the registry fails, or has no such version.
    """
    if source.kind == "published":
        path = fetch_file(supernet_file(source.name), reporter=reporter)
        return _checkpoint(source, path, reference_space(source.name))
    if source.kind == "registry":
        with temporary_folder("initial-weights") as folder:
            return _bundle(source, _download(source, root, folder))
    path = root / expand_home(source.name)
    if source.kind == "checkpoint":
        return _checkpoint(source, path, space)
    if source.kind == "bundle":
        return _bundle(source, path)
    return _supernet(source, path)


def _checkpoint(source: WeightsSource, path: Path, space: SearchSpace) -> FoundWeights:
    sha256 = _checked_digest(source, path)
    network = import_reference_supernet(path, space)
    return FoundWeights(source=source, network=network, sha256=sha256, class_names=None)


def _supernet(source: WeightsSource, path: Path) -> FoundWeights:
    if path.is_dir():
        path = path / Layout.SUPERNET
    sha256 = _checked_digest(source, path)
    verify_file(path)
    network = load_supernet(path)
    return FoundWeights(
        source=source, network=network, sha256=sha256, class_names=_names_beside(path)
    )


def _bundle(source: WeightsSource, folder: Path) -> FoundWeights:
    if not folder.is_dir():
        raise MissingArtifactError(
            f"training.initial_weights must name the folder of a bundle, {folder} is none. Correct "
            "it; relative paths are meant from the workspace."
        )
    path = folder / Layout.WEIGHTS
    sha256 = _checked_digest(source, path)
    class_names = load_bundle(folder).class_names
    return FoundWeights(
        source=source, network=load_subnet(path), sha256=sha256, class_names=class_names
    )


def _download(source: WeightsSource, root: Path, folder: Path) -> Path:
    """Bring the files of a registered subnet into a folder."""
    registry = open_registry(root)
    wanted = f"models:/{source.name}"
    found = {subnet.model_uri: subnet for subnet in registry.list_subnets(dataset=ANY_DATASET)}
    if wanted not in found:
        raise RegistryError(
            f"training.initial_weights must name a registered subnet, the registry has no {wanted}."
            f"{suggest(wanted, found)} List them with: ofa-pipeline subnets --dataset any"
        )
    return registry.download(found[wanted], folder)


def _checked_digest(source: WeightsSource, path: Path) -> str:
    """Return the SHA-256 of a weight file.

    Raises:
        MissingArtifactError: If there is no such file.
        CheckpointError: If it is not the one that is asked for.
    """
    if not path.is_file():
        raise MissingArtifactError(
            f"training.initial_weights must name a weight file, {path} is none. Correct it; "
            "relative paths are meant from the workspace."
        )
    found = digest_file(path)
    if source.sha256 is not None and found != source.sha256:
        raise CheckpointError(
            f"{path} must have the SHA-256 that training.initial_weights names, "
            f"{source.sha256[:12]}..., found {found}. Get the right file, or correct the digest."
        )
    return found


def _names_beside(path: Path) -> tuple[str, ...] | None:
    """Return the classes of a supernet in a workspace: those of the dataset beside it."""
    classes = Layout(workspace_of(path.absolute().parent)).dataset / Layout.CLASSES
    if not classes.is_file():
        return None
    return read_document(classes, ClassNames, remake="ofa-pipeline run").class_names
