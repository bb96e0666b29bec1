"""Bundles: the folder that ships, how it is described, and how it is used.

::

    subnet.json          what it is: architecture, space, classes, normalization
    weights.safetensors  the calibrated subnet, before batch norm is folded
    model.onnx           the exported network: images (N, 3, r, r) float32 -> logits (N, classes)
    card.json            what it was measured to do: accuracy, latency certificate, lineage;
                         and the SHA-256 of the other files
    classify.py          classifies images; needs none of this package

and where the device's runtime runs another file, this file and the code that it needs, for
example::

    network.safetensors  the folded network as steps and weights, for PyTorch
    network.py           runs it

or ``model.int8.onnx`` of a device in int8.

What runs is one file, the `shipped_file` of the device's runtime and precision: it is the one that
was measured, whose accuracy is reported, that `classify.py` and the registered model run;
``subnet.json`` names it in ``runs``.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from numpy.typing import ArrayLike
from PIL import Image

from ofa_pipeline.arch import Arch
from ofa_pipeline.artifacts import Layout, digest_file, digest_json, write_json
from ofa_pipeline.data import decode
from ofa_pipeline.devices import FIRST_RUNTIME, file_in, network_classes
from ofa_pipeline.documents import Card, SubnetDescription, read_document
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.specialize import shipped_checks
from ofa_pipeline.specialize.classify import Classifier, FloatArray
from ofa_pipeline.specialize.shipped_code import classify_code

ONNX_FILE = "model.onnx"
CLASSIFY_FILE = "classify.py"
FILES = (Layout.SUBNET, Layout.WEIGHTS, ONNX_FILE, Layout.CARD, CLASSIFY_FILE)
"""Files of every bundle."""

_REMAKE = "ofa-pipeline run; or fetch it again: ofa-pipeline pull"


@dataclass(frozen=True)
class Bundle:
    """A folder that ships."""

    folder: Path
    subnet: SubnetDescription
    card: Card

    @property
    def arch(self) -> Arch:
        """The architecture."""
        return self.subnet.arch

    @property
    def class_names(self) -> tuple[str, ...]:
        """By label."""
        return self.subnet.class_names

    @cached_property
    def digest(self) -> str:
        """Digest of the content, the certificate included."""
        return bundle_digest(self.folder)

    @cached_property
    def classifier(self) -> Classifier:
        """The network that ships, loaded when it is first used."""
        return Classifier(self.folder)

    def predict(self, images: ArrayLike) -> FloatArray:
        """Return the probability of every class, shape (N, classes).

        Args:
            images: uint8 of shape (N, H, W, 3) or (H, W, 3), any size, or one PIL image.

        Raises:
            ValueError: If the images have another type or shape.
        """
        if isinstance(images, Image.Image):
            images = decode.rgb_pixels(decode.upright_eight_bits(images))
        return self.classifier.predict(images)


def load_bundle(folder: Path) -> Bundle:
    """Open a bundle, whose files are compared with the digests of its card.

    Its network is loaded when it is first used.

    Raises:
        MissingArtifactError: If one of its files is not there.
        ManifestMismatchError: If it is of another format, if a file was changed after it was
            written, or if a document holds what no bundle has.
    """
    _require(folder, FILES)
    subnet = read_description(folder)
    shipped_checks.read_document(folder / Layout.CARD)  # not one of gigabytes
    card = read_document(folder / Layout.CARD, Card, remake=_REMAKE)
    names = files_of(subnet)
    _require(folder, names)
    shipped_checks.check_digests(folder, [name for name in names if name != Layout.CARD])
    return Bundle(folder=folder, subnet=subnet, card=card)


def bundle_digest(folder: Path) -> str:
    """Return the digest of a bundle's content."""
    names = files_of(read_description(folder))
    return digest_json({name: digest_file(folder / name) for name in names})


def read_description(folder: Path) -> SubnetDescription:
    """Read what the subnet of a bundle is.

    Raises:
        MissingArtifactError: If the document is not there.
        ManifestMismatchError: If it is of another format, or holds what no bundle has.
    """
    path = folder / Layout.SUBNET
    shipped_checks.check_description(shipped_checks.read_document(path), path)
    return read_document(path, SubnetDescription, remake=_REMAKE)


def shipped_file(runtime: str, precision: str = "fp32") -> str:
    """Return the name of the file that is evaluated, measured and run: one and the same."""
    return file_in(precision, network_classes()[runtime].file_name)


def files_of(subnet: SubnetDescription) -> tuple[str, ...]:
    """Return the names of a bundle's files.

    Args:
        subnet: Without ``runs``, as bundles were written first, the ONNX file runs.

    Raises:
        ManifestMismatchError: If its runtime is unknown.
    """
    runtime = subnet.runs.runtime if subnet.runs else FIRST_RUNTIME
    precision = subnet.runs.precision if subnet.runs else "fp32"
    known = network_classes()
    if runtime not in known:
        raise ManifestMismatchError(
            f"runs.runtime in {Layout.SUBNET} must be one of {', '.join(known)}, found "
            f"{runtime!r}. The bundle was written by another version of this package."
        )
    files = (*FILES, shipped_file(runtime, precision), *known[runtime].code_names)
    return tuple(dict.fromkeys(files))


def _require(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise MissingArtifactError(
                f"{folder} must be a bundle, but holds no {name}. Produce it with: {_REMAKE}"
            )


def write_bundle(folder: Path, *, files_from: Path, subnet: SubnetDescription, card: Card) -> None:
    """Fill a bundle.

    Args:
        folder: Is made.
        files_from: Folder with the weights, the files of networks, and the code that runs them.
        subnet: What it is.
        card: What it was measured to do; the digests of the other files are put in.
    """
    folder.mkdir(parents=True)
    names = files_of(subnet)
    (folder / CLASSIFY_FILE).write_text(classify_code(), encoding="utf-8")
    for name in names:
        if name not in (Layout.SUBNET, Layout.CARD, CLASSIFY_FILE):
            shutil.copyfile(files_from / name, folder / name)
    write_json(folder / Layout.SUBNET, subnet.to_dict())
    digests = {name: digest_file(folder / name) for name in names if name != Layout.CARD}
    write_json(folder / Layout.CARD, {**card.to_dict(), "files": digests})
