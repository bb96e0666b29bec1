"""Bundles: the folder that ships, how it is described, and how it is used.

::

    subnet.json          what it is: architecture, space, classes, normalization
    weights.safetensors  the calibrated subnet, before batch norm is folded
    model.onnx           the exported network: images (N, 3, r, r) float32 -> logits (N, classes)
    card.json            what it was measured to do: accuracy, latency certificate, lineage;
                         and the SHA-256 of the other files
    classify.py          classifies images; needs none of this package

and for a device with the runtime PyTorch::

    network.safetensors  the folded network as steps and weights
    network.py           runs it

What runs is one file, `SHIPPED_FILES` of the device's runtime: it is the one that was measured,
whose accuracy is reported, that `classify.py` and the registered model run; ``subnet.json`` names
it in ``runs``.
"""

import ast
import importlib
import inspect
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

from numpy.typing import ArrayLike
from PIL import Image

from ofa_pipeline import errors as package_errors
from ofa_pipeline.arch import Arch
from ofa_pipeline.artifacts import Layout, digest_file, digest_json, write_json
from ofa_pipeline.data import decode
from ofa_pipeline.documents import Card, SubnetDescription, read_document
from ofa_pipeline.errors import MissingArtifactError
from ofa_pipeline.specialize import classify
from ofa_pipeline.specialize.classify import Classifier, FloatArray

WEIGHTS_FILE = "weights.safetensors"
ONNX_FILE = "model.onnx"
NETWORK_FILE = "network.safetensors"
NETWORK_CODE_FILE = "network.py"
CLASSIFY_FILE = "classify.py"
FILES = (Layout.SUBNET, WEIGHTS_FILE, ONNX_FILE, Layout.CARD, CLASSIFY_FILE)
"""Of every bundle."""
SHIPPED_FILES: Mapping[str, str] = {"onnxruntime": ONNX_FILE, "pytorch": NETWORK_FILE}
"""By runtime, the file that is evaluated, measured and run: one and the same."""
FILES_OF_RUNTIME: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": FILES,
    "pytorch": (*FILES, NETWORK_FILE, NETWORK_CODE_FILE),
}
PREDICTIONS_FILE = "predictions.parquet"

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
    subnet = read_description(folder)
    classify.read_document(folder / Layout.CARD)  # not one of gigabytes
    card = read_document(folder / Layout.CARD, Card, remake=_REMAKE)
    names = files_of(subnet)
    _require(folder, names)
    classify.check_digests(folder, [name for name in names if name != Layout.CARD])
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
    classify.check_description(classify.read_document(path), path)
    return read_document(path, SubnetDescription, remake=_REMAKE)


def files_of(subnet: SubnetDescription) -> tuple[str, ...]:
    """Return the names of a bundle's files."""
    return FILES_OF_RUNTIME[subnet.runs.runtime if subnet.runs else "onnxruntime"]


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


# ---- the code that ships ----------------------------------------------------------------------


def classify_code() -> str:
    """Return the ``classify.py`` that ships: it needs numpy, Pillow and ONNX Runtime.

    It is `ofa_pipeline.specialize.classify` with the modules of the package that it imports where
    it imports them, so that images are decoded by one set of rules. The errors of the package
    become plain classes.
    """
    modules: list[ModuleType] = []
    errors: set[str] = set()
    _collect(classify, modules, errors)
    classes = "".join(
        f'class {name}(ValueError):\n    """{getattr(package_errors, name).__doc__}"""\n\n\n'
        for name in sorted(errors)
    )
    *others, last = modules
    return _source(last, put=classes + "\n".join(_source(module) for module in others) + "\n")


def _collect(module: ModuleType, modules: list[ModuleType], errors: set[str]) -> None:
    """Collect a module, after those of the package that it imports, and the errors they raise."""
    for node in _imports(module):
        if node.module == package_errors.__name__:
            errors.update(name.name for name in node.names)
        else:
            found = importlib.import_module(str(node.module))
            if found not in modules:
                _collect(found, modules, errors)
    modules.append(module)


def _source(module: ModuleType, *, put: str = "") -> str:
    """Return a module's source without its imports of the package.

    Args:
        module: Imports from the package at its top level only, with ``from MODULE import NAME``.
        put: What stands where the first of these imports stood.
    """
    lines = inspect.getsource(module).splitlines(keepends=True)
    for node in _imports(module):
        last = node.end_lineno or node.lineno
        lines[node.lineno - 1 : last] = [put] + [""] * (last - node.lineno)
        put = ""
    return "".join(lines)


def _imports(module: ModuleType) -> list[ast.ImportFrom]:
    return [
        node
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ofa_pipeline.")
    ]
