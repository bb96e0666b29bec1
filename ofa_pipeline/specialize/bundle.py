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

What runs is one file, the `shipped_file` of the device's runtime: it is the one that was measured,
whose accuracy is reported, that `classify.py` and the registered model run; ``subnet.json`` names
it in ``runs``.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from PIL import Image

from ofa_pipeline.arch import Arch
from ofa_pipeline.artifacts import digest_file, digest_json, read_json, write_json
from ofa_pipeline.data import decode
from ofa_pipeline.devices import FIRST_RUNTIME, network_classes
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.specialize import classify
from ofa_pipeline.specialize.classify import Classifier, FloatArray
from ofa_pipeline.specialize.documents import check_card, check_subnet
from ofa_pipeline.specialize.shipped_code import classify_code

FORMAT = 1
SUBNET_FILE = "subnet.json"
WEIGHTS_FILE = "weights.safetensors"
ONNX_FILE = "model.onnx"
CARD_FILE = "card.json"
CLASSIFY_FILE = "classify.py"
FILES = (SUBNET_FILE, WEIGHTS_FILE, ONNX_FILE, CARD_FILE, CLASSIFY_FILE)
"""Of every bundle."""
INDEX_FILE = "bundles.json"
PREDICTIONS_FILE = "predictions.parquet"

_MADE_BY = "ofa-pipeline run"


@dataclass(frozen=True)
class Bundle:
    """A folder that ships."""

    folder: Path
    subnet: Mapping[str, Any]
    """Of ``subnet.json``."""
    card: Mapping[str, Any]
    """Of ``card.json``."""

    @cached_property
    def arch(self) -> Arch:
        """The architecture."""
        return Arch.from_dict(self.subnet["arch"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """By label."""
        return tuple(self.subnet["class_names"])

    @cached_property
    def digest(self) -> str:
        """Of the content, the certificate included."""
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
    subnet = classify.read_document(folder / SUBNET_FILE)
    if subnet.get("format") != FORMAT:
        raise ManifestMismatchError(
            f"{folder / SUBNET_FILE} must be of format {FORMAT}, found {subnet.get('format')}. "
            f"Produce it again with: {_MADE_BY}"
        )
    card = classify.read_document(folder / CARD_FILE)
    check_subnet(subnet, folder / SUBNET_FILE)
    check_card(card, folder / CARD_FILE)
    names = files_of(subnet)
    _require(folder, names)
    classify.check_digests(folder, [name for name in names if name != CARD_FILE])
    return Bundle(folder=folder, subnet=subnet, card=card)


def bundle_digest(folder: Path) -> str:
    """Return the digest of a bundle's content."""
    subnet = read_json(folder / SUBNET_FILE, made_by=_MADE_BY)
    return digest_json({name: digest_file(folder / name) for name in files_of(subnet)})


def shipped_file(runtime: str) -> str:
    """Return the name of the file that is evaluated, measured and run: one and the same."""
    return network_classes()[runtime].file_name


def files_of(subnet: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a bundle's files.

    Args:
        subnet: Content of its ``subnet.json``; without ``runs``, as bundles were written first,
            the ONNX file runs.

    Raises:
        ManifestMismatchError: If its runtime is unknown.
    """
    runtime = subnet.get("runs", {}).get("runtime", FIRST_RUNTIME)
    known = network_classes()
    if runtime not in known:
        raise ManifestMismatchError(
            f"runs.runtime in {SUBNET_FILE} must be one of {', '.join(known)}, found "
            f"{runtime!r}. The bundle was written by another version of this package."
        )
    files = (*FILES, known[runtime].file_name, *known[runtime].code_names)
    return tuple(dict.fromkeys(files))


def _require(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise MissingArtifactError(
                f"{folder} must be a bundle, but holds no {name}. Produce it with: {_MADE_BY}"
            )


def write_bundle(
    folder: Path, *, files_from: Path, subnet: Mapping[str, Any], card: Mapping[str, Any]
) -> None:
    """Fill a bundle.

    Args:
        folder: Is made.
        files_from: Folder with the weights, the files of networks, and the code that runs them.
        subnet: Content of ``subnet.json``, besides the format.
        card: Content of ``card.json``, besides the digests of the other files.
    """
    folder.mkdir(parents=True)
    names = files_of(subnet)
    (folder / CLASSIFY_FILE).write_text(classify_code(), encoding="utf-8")
    for name in names:
        if name not in (SUBNET_FILE, CARD_FILE, CLASSIFY_FILE):
            shutil.copyfile(files_from / name, folder / name)
    write_json(folder / SUBNET_FILE, {"format": FORMAT, **subnet})
    digests = {name: digest_file(folder / name) for name in names if name != CARD_FILE}
    # A round trip, so that what is hashed is what any reader gets back.
    write_json(folder / CARD_FILE, json.loads(json.dumps({**card, "files": digests})))
