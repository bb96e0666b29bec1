"""Classify images with a bundle: its folder, numpy, Pillow and ONNX Runtime are all it takes.

Every bundle carries a copy of this file, so that it works where this package is not installed::

    python classify.py IMAGE...

    from classify import Classifier
    Classifier(folder).predict(images)  # uint8 (N, H, W, 3) -> probabilities (N, classes)
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float32]
IMAGE_DIMENSIONS = 3
"""Height, width, channels."""
LARGE_IMAGE_PX = 128
"""From this side on, images are resized and cropped as on ImageNet; below, only resized."""
CROP_FRACTION = 0.875
BATCH_SIZE = 256
"""Images a call of the network, at most."""


class Classifier:
    """The exported network of a bundle, with the preparation of images that it was tested with."""

    def __init__(self, folder: Path | str, *, threads: int = 1) -> None:
        """Load the network.

        Args:
            folder: A bundle: ``subnet.json`` and ``model.onnx`` in it are read.
            threads: CPU threads of a call.
        """
        import onnxruntime

        folder = Path(folder)
        description = json.loads((folder / "subnet.json").read_text())
        self.class_names: list[str] = description["class_names"]
        self.resolution_px: int = description["arch"]["resolution_px"]
        self.image_size_px: int = description["image_size_px"]
        self._mean = np.array(description["mean"], dtype=np.float32)[:, None, None] * 255
        self._std = np.array(description["std"], dtype=np.float32)[:, None, None] * 255
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        [graph_input] = self._session.get_inputs()
        self._input_name: str = graph_input.name

    def predict(self, images: ArrayLike) -> FloatArray:
        """Return the probability of every class.

        Args:
            images: uint8, shape (N, H, W, 3) or (H, W, 3), any size.

        Returns:
            Shape (N, classes).

        Raises:
            ValueError: If the images have another type or shape.
        """
        logits = self.logits(self.prepare(images)).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: FloatArray = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
        return probabilities

    def prepare(self, images: ArrayLike) -> FloatArray:
        """Crop, resize and normalize images as in the evaluation.

        The middle square is resized to the size that the dataset was stored at, and from there
        to the network's resolution.

        Args:
            images: As in `predict`.

        Returns:
            Shape (N, 3, resolution, resolution).

        Raises:
            ValueError: If the images have another type or shape.
        """
        pixels = np.asarray(images)
        if pixels.ndim == IMAGE_DIMENSIONS:
            pixels = pixels[None]
        if pixels.dtype != np.uint8 or pixels.ndim != IMAGE_DIMENSIONS + 1 or pixels.shape[3] != 3:  # noqa: PLR2004 - channels
            raise ValueError(
                "images must be uint8 of shape (N, H, W, 3), got "
                f"{pixels.dtype} of shape {pixels.shape}"
            )
        if 0 in pixels.shape[1:3]:
            raise ValueError(f"images must have at least one pixel, got shape {pixels.shape}")
        squares = _stored_size(pixels, self.image_size_px)
        planes = squares.transpose(0, 3, 1, 2).astype(np.float32)
        return (resize(planes, self.resolution_px) - self._mean) / self._std

    def logits(self, prepared: FloatArray) -> FloatArray:
        """Run the network on what `prepare` returned.

        Returns:
            Shape (N, classes).
        """
        parts = [
            self._session.run(None, {self._input_name: prepared[start : start + BATCH_SIZE]})[0]
            for start in range(0, len(prepared), BATCH_SIZE)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.class_names)), np.float32)


def _stored_size(images: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Bring images to squares of `side_px` with Pillow, as the dataset stored them.

    The shorter side is shrunk, the middle square cut out, and enlarged where it is smaller.
    """
    if images.shape[1:3] == (side_px, side_px):
        return images
    from PIL import Image

    bilinear = Image.Resampling.BILINEAR
    squares = []
    for pixels in images:
        image = Image.fromarray(pixels)
        shorter = min(image.size)
        if shorter > side_px:
            width, height = (max(side_px, int(side_px * side / shorter)) for side in image.size)
            image = image.resize((width, height), bilinear)
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        squares.append(np.asarray(image.resize((side_px, side_px), bilinear)))
    return np.array(squares, dtype=np.uint8).reshape(len(squares), side_px, side_px, 3)


def resize(planes: FloatArray, resolution_px: int) -> FloatArray:
    """Resize square images as in the evaluation: bilinear, antialiased.

    Small images are resized whole. Large ones are resized to ``ceil(r / 0.875)`` and the middle
    ``r`` is kept, as for ImageNet.

    Args:
        planes: Shape (N, C, H, H).
        resolution_px: Height and width of the result, r.

    Returns:
        Shape (N, C, resolution, resolution).
    """
    side = planes.shape[-1]
    resized_px, start = resolution_px, 0
    if side >= LARGE_IMAGE_PX:
        resized_px = math.ceil(resolution_px / CROP_FRACTION)
        start = round((resized_px - resolution_px) / 2)
    step = side / resized_px
    centers = (np.arange(resized_px) + 0.5) * step
    distance = np.abs(np.arange(side) + 0.5 - centers[:, None]) / max(step, 1.0)
    triangle = np.clip(1 - distance, 0, None)
    weights = (triangle / triangle.sum(axis=1, keepdims=True)).astype(np.float32)
    kept = weights[start : start + resolution_px]
    resampled: FloatArray = kept @ (planes @ kept.T)
    return resampled


def main(paths: list[str]) -> None:
    """Print the most likely class of each image file, one line each."""
    from PIL import Image

    classifier = Classifier(Path(__file__).resolve().parent)
    for path in paths:
        with Image.open(path) as image:
            probabilities = classifier.predict(np.asarray(image.convert("RGB")))[0]
        label = int(probabilities.argmax())
        sys.stdout.write(f"{path}\t{classifier.class_names[label]}\t{probabilities[label]:.4f}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
