"""Classify images with a bundle: its folder, numpy and ONNX Runtime are all that it takes.

Every bundle carries a copy of this file, so that it works where this package is not installed::

    python classify.py IMAGE...        # needs Pillow, too

    from classify import Classifier
    Classifier(folder).predict(images)  # uint8 (N, H, W, 3) -> probabilities (N, classes)
"""

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float32]
IMAGE_DIMENSIONS = 3
"""Height, width, channels."""


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
        self._mean = np.array(description["mean"], dtype=np.float32)[:, None, None]
        self._std = np.array(description["std"], dtype=np.float32)[:, None, None]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        [graph_input] = self._session.get_inputs()
        self._input_name: str = graph_input.name
        size = graph_input.shape[0]
        self._batch_size: int | None = size if isinstance(size, int) else None

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
        """Resize and normalize images as in the evaluation.

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
        planes = pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        return (resize(planes, self.resolution_px) - self._mean) / self._std

    def logits(self, prepared: FloatArray) -> FloatArray:
        """Run the network on what `prepare` returned, in the batches that it was exported for.

        Returns:
            Shape (N, classes).
        """
        size = self._batch_size or max(len(prepared), 1)
        parts = [
            self._run(prepared[start : start + size], size)
            for start in range(0, len(prepared), size)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.class_names)), np.float32)

    def _run(self, batch: FloatArray, size: int) -> FloatArray:
        count = len(batch)
        if count < size:
            padding = np.zeros((size - count, *batch.shape[1:]), dtype=np.float32)
            batch = np.concatenate([batch, padding])
        output: FloatArray = self._session.run(None, {self._input_name: batch})[0]
        return output[:count]


def resize(planes: FloatArray, resolution_px: int) -> FloatArray:
    """Resize to a square: bilinear, antialiased when it shrinks, as PyTorch's interpolate does.

    Args:
        planes: Shape (N, C, H, W).
        resolution_px: Height and width of the result.

    Returns:
        Shape (N, C, resolution, resolution).
    """
    height, width = planes.shape[2:]
    resized = planes
    if width != resolution_px:
        resized = resized @ _resize_weights(width, resolution_px).T
    if height != resolution_px:
        resized = _resize_weights(height, resolution_px) @ resized
    return resized


def _resize_weights(size: int, new_size: int) -> FloatArray:
    """Return the weight of each old pixel in each new one, shape (new_size, size)."""
    scale = size / new_size
    support = max(scale, 1.0)
    centers = (np.arange(new_size) + 0.5) * scale
    distances = np.arange(size) + 0.5 - centers[:, None]
    weights = np.clip(1 - np.abs(distances) / support, 0, None)
    normalized: FloatArray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalized


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
