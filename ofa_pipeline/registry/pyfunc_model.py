"""The code of a registered model: MLflow copies this file into the model and runs it there.

It needs the bundle beside it, MLflow, numpy, Pillow and the runtime of the bundle's device, and
nothing of this package.
"""

import base64
import binascii
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from PIL import Image

COLUMN = "image"
GREY, RGB, RGBA = 1, 3, 4
"""Channels that an array of pixels may have."""
IMAGE, BATCH = 3, 4
"""Dimensions of one image with channels, and of several."""
WHITE = 255
SHOWN = 60


class SubnetModel(PythonModel):
    """Classifies images with the file of the bundle that was measured."""

    def load_context(self, context: Any) -> None:  # noqa: ANN401 - mlflow's PythonModelContext
        """Load the network; the bundle brings the code that does it.

        Raises:
            ValueError: If a file was changed after it was registered. The code is compared here,
                before it runs; it compares the others.
        """
        folder = Path(context.artifacts["bundle"])
        _check_code(folder)
        spec = importlib.util.spec_from_file_location("ofa_subnet_classify", folder / "classify.py")
        if spec is None or spec.loader is None:
            raise ImportError(f"{folder / 'classify.py'} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._code = module
        self._classifier = module.Classifier(folder)

    def predict(
        self,
        context: Any,  # noqa: ANN401, ARG002 - mlflow's signature
        model_input: np.ndarray,  # a hint that MLflow takes for "whatever comes"
        params: dict[str, Any] | None = None,  # noqa: ARG002 - mlflow's signature
    ) -> pd.DataFrame:
        """Classify images: encoded ones, or arrays of pixels.

        Args:
            context: Not used.
            model_input: Image files, each as bytes or as base64, of any sizes and formats that
                Pillow reads, in a table with the column ``image`` or in an array; or an array of
                pixels from 0 to 255, uint8 or whole numbers, of shape (N, H, W, C), (H, W, C) or
                (H, W), any size; C is 1 (grey), 3 (RGB) or 4 (RGB and opacity: put on white).
            params: Not used.

        Returns:
            One row an image: ``label``, ``class_name``, ``probability``, and ``probabilities``
            of all classes.

        Raises:
            MlflowException: If it is anything else; the message says what was found.
        """
        probabilities = self._classifier.predict(self._pixels(_column(model_input)))
        labels = probabilities.argmax(axis=1)
        names = self._classifier.class_names
        return pd.DataFrame(
            {
                "label": labels.astype(np.int64),
                "class_name": [names[label] for label in labels],
                "probability": probabilities.max(axis=1).astype(np.float64),
                "probabilities": [row.tolist() for row in probabilities.astype(np.float64)],
            }
        )

    def _pixels(self, images: Any) -> np.ndarray:  # noqa: ANN401 - see `predict`
        """Return uint8 pixels of shape (N, H, W, 3)."""
        if isinstance(images, np.ndarray) and images.dtype.kind not in "OSU":
            return rgb_batch(images)
        items = _items(images)
        if not items:
            raise _refused("at least one", "none")
        others = [number for number, item in enumerate(items) if not _is_encoded(item)]
        if not others:
            return np.stack([self._decoded(item, number) for number, item in enumerate(items)])
        if len(others) < len(items):
            found = type(items[others[0]]).__name__
            raise _refused("all encoded or all pixels", f"both: number {others[0]} is {found}")
        return rgb_batch(_array_of(items))

    def _decoded(self, image: str | bytes, number: int) -> np.ndarray:
        """Decode an image file as the dataset was decoded."""
        where = f"image {number} of the batch"
        content = _content(image, where)
        if not hasattr(self._code, "decode_stored"):
            raise MlflowException.invalid_parameter_value(
                "this version holds a bundle whose code decodes no image files: send arrays of "
                "pixels, or register a bundle that was built by a newer ofa-pipeline."
            )
        classifier = self._classifier
        side, values = classifier.image_size_px, classifier.value_range
        try:
            stored = self._code.decode_stored(content, side, value_range=values)
            pixels: np.ndarray = self._code.middle_square(stored, side)
        except self._code.DatasetError as error:
            raise MlflowException.invalid_parameter_value(f"{where}: {error}") from error
        return np.asarray(rgb_batch(pixels)[0])


def rgb_batch(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as uint8 of shape (N, H, W, 3): grey repeated, opacity put on white.

    Args:
        pixels: See `SubnetModel.predict`.

    Raises:
        MlflowException: If they are of another type or shape, or none.
    """
    batch = _batch(_eight_bits(pixels))
    if batch.shape[3] == GREY:
        return np.repeat(batch, RGB, axis=3)
    if batch.shape[3] == RGB:
        return batch
    return np.stack([_on_white(image) for image in batch])


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    found = f"{pixels.dtype} of shape {pixels.shape}"
    if pixels.size and pixels.dtype.kind in "iuf":
        found += f" with values from {pixels.min():g} to {pixels.max():g}"
    if pixels.dtype.kind == "f":
        found += (
            ". Pixels in [0, 1] are multiplied by 255, rounded and made uint8 first; "
            "normalized ones are not taken: the model normalizes by itself"
        )
        raise _refused("uint8, from 0 to 255", found)
    # Signed whole numbers are what JSON and Python's lists become.
    if pixels.dtype.kind != "i" or (pixels.size and not 0 <= pixels.min() <= pixels.max() <= WHITE):
        raise _refused("uint8, from 0 to 255", found)
    return pixels.astype(np.uint8)


def _batch(pixels: np.ndarray) -> np.ndarray:
    """Return pixels of shape (N, H, W, C)."""
    channels = (GREY, RGB, RGBA)
    shape = pixels.shape
    batch = pixels
    if pixels.ndim == IMAGE - 1:
        batch = pixels[None, :, :, None]
    elif pixels.ndim == IMAGE:
        batch = pixels[None]
    if batch.ndim != BATCH or batch.shape[3] not in channels:
        is_first = pixels.ndim in (IMAGE, BATCH) and shape[-3] in channels
        way_out = ". Put the channels last" if is_first else ""
        if pixels.ndim == IMAGE:
            way_out += ". Several grey images are (N, H, W, 1)"
        raise _refused(
            "(N, H, W, C), (H, W, C) or (H, W) with C one of 1, 3, 4", f"{shape}{way_out}"
        )
    if 0 in batch.shape:
        raise _refused("at least one, of at least one pixel", f"shape {shape}")
    return batch


def _on_white(image: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(image)
    canvas = Image.new("RGBA", picture.size, (WHITE, WHITE, WHITE, WHITE))
    canvas.alpha_composite(picture)
    return np.asarray(canvas.convert("RGB"))


def _column(images: Any) -> Any:  # noqa: ANN401 - see `SubnetModel.predict`
    """Return the column of a table, or the input by that name, else the images themselves."""
    if isinstance(images, pd.Series):
        return images.to_numpy(dtype=object)
    if not isinstance(images, pd.DataFrame | Mapping):
        return images
    names = list(images.keys())
    if COLUMN not in names and len(names) != 1:
        raise _refused(f"in a column called {COLUMN!r}", f"the columns {names}")
    column = images[COLUMN if COLUMN in names else names[0]]
    return column.to_numpy(dtype=object) if isinstance(column, pd.Series) else column


def _items(images: Any) -> list[Any]:  # noqa: ANN401 - see `SubnetModel.predict`
    """Return the images one by one."""
    if _is_encoded(images):
        return [images]
    if isinstance(images, list | tuple):
        return list(images)
    if not isinstance(images, np.ndarray):
        raise _refused("encoded (bytes or base64) or arrays of pixels", type(images).__name__)
    flat = images.ravel()
    return list(flat) if len(flat) and _is_encoded(flat[0]) else images.tolist()


def _array_of(images: list[Any]) -> np.ndarray:
    """Return the pixels of nested lists, or of a list of arrays."""
    try:
        pixels = np.asarray(images)
    except ValueError as error:  # numpy's word for lists of different lengths
        raise _refused("of one size", "several sizes. Send them one by one, or encoded") from error
    if pixels.dtype.kind in "OSU":
        first = next(iter(np.ravel(pixels)), None)
        raise _refused(
            "encoded (bytes or base64) or arrays of pixels",
            f"{type(first).__name__} {str(first)[:SHOWN]!r}",
        )
    return pixels


def _is_encoded(image: object) -> bool:
    return isinstance(image, str | bytes | bytearray | memoryview)


def _content(image: str | bytes, where: str) -> bytes:
    """Return the bytes of an image file."""
    if not isinstance(image, str):
        return bytes(image)
    text = image.partition(",")[2] if image.startswith("data:") else image
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MlflowException.invalid_parameter_value(
            f"{where} must be the bytes of an image file, or these in base64, got "
            f"{image[:SHOWN]!r} ({error}). Paths and addresses are not opened: send the content"
        ) from error


def _refused(wanted: str, found: str) -> MlflowException:
    message = f"images must be {wanted}; got {found}."
    refusal: MlflowException = MlflowException.invalid_parameter_value(message)
    return refusal


def _check_code(folder: Path) -> None:
    try:
        stated = json.loads((folder / "card.json").read_text()).get("files", {})
    except FileNotFoundError:
        return  # not a bundle of the pipeline: nothing to compare with
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{folder / 'card.json'} must be a JSON object: {error}") from error
    found = hashlib.sha256((folder / "classify.py").read_bytes()).hexdigest()
    if stated.get("classify.py", found) != found:
        raise ValueError(
            f"{folder / 'classify.py'} was changed after it was registered: its SHA-256 must "
            f"begin {stated['classify.py'][:12]}, found {found[:12]}. Restore the registry's files"
        )


set_model(SubnetModel())
