"""Bundles: the folder that ships, how it is described, and how it is used.

::

    subnet.json          what it is: architecture, space, classes, normalization
    weights.safetensors  the calibrated subnet, before batch norm is folded
    model.onnx           what runs: images (N, 3, r, r) float32 -> logits (N, classes)
    card.json            what it was measured to do: accuracy, latency certificate, lineage
    classify.py          classifies images; needs none of this package
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ofa_pipeline.arch import Arch
from ofa_pipeline.artifacts import digest_file, digest_json, read_json, write_json
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.specialize.classify import Classifier, FloatArray

FORMAT = 1
SUBNET_FILE = "subnet.json"
WEIGHTS_FILE = "weights.safetensors"
ONNX_FILE = "model.onnx"
CARD_FILE = "card.json"
CLASSIFY_FILE = "classify.py"
FILES = (SUBNET_FILE, WEIGHTS_FILE, ONNX_FILE, CARD_FILE, CLASSIFY_FILE)
INDEX_FILE = "bundles.json"
PREDICTIONS_FILE = "predictions.parquet"

CLASSIFY_CODE = Path(__file__).with_name(CLASSIFY_FILE)
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
        """The exported network, loaded when it is first used."""
        return Classifier(self.folder)

    def predict(self, images: ArrayLike) -> FloatArray:
        """Return the probability of every class, shape (N, classes).

        Args:
            images: uint8 of shape (N, H, W, 3) or (H, W, 3), any size, or one PIL image.

        Raises:
            ValueError: If the images have another type or shape.
        """
        if hasattr(images, "convert"):
            images = np.asarray(images.convert("RGB"))
        return self.classifier.predict(images)


def load_bundle(folder: Path) -> Bundle:
    """Open a bundle; its network is loaded when it is first used.

    Raises:
        MissingArtifactError: If one of its files is not there.
        ManifestMismatchError: If it is of another format.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise MissingArtifactError(
                f"{folder} must be a bundle, but holds no {name}. Produce it with: {_MADE_BY}"
            )
    subnet = read_json(folder / SUBNET_FILE, made_by=_MADE_BY)
    if subnet.get("format") != FORMAT:
        raise ManifestMismatchError(
            f"{folder / SUBNET_FILE} must be of format {FORMAT}, found {subnet.get('format')}. "
            f"Produce it again with: {_MADE_BY}"
        )
    return Bundle(
        folder=folder, subnet=subnet, card=read_json(folder / CARD_FILE, made_by=_MADE_BY)
    )


def bundle_digest(folder: Path) -> str:
    """Return the digest of a bundle's content."""
    return digest_json({name: digest_file(folder / name) for name in FILES})


def write_bundle(
    folder: Path, *, files_from: Path, subnet: Mapping[str, Any], card: Mapping[str, Any]
) -> None:
    """Fill a bundle.

    Args:
        folder: Is made.
        files_from: Folder with the weights and the ONNX file.
        subnet: Content of ``subnet.json``, besides the format.
        card: Content of ``card.json``.
    """
    folder.mkdir(parents=True)
    for name in (WEIGHTS_FILE, ONNX_FILE):
        shutil.copyfile(files_from / name, folder / name)
    shutil.copyfile(CLASSIFY_CODE, folder / CLASSIFY_FILE)
    write_json(folder / SUBNET_FILE, {"format": FORMAT, **subnet})
    # A round trip, so that what is hashed is what any reader gets back.
    write_json(folder / CARD_FILE, json.loads(json.dumps(card)))
