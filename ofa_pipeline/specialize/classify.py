"""Classify images with a bundle: its folder, numpy, Pillow and the runtime of its device.

The runtime is ONNX Runtime, or PyTorch with safetensors: ``runs`` in ``subnet.json`` says which,
and which file it runs. That file is the one that was measured and whose accuracy is reported.
Every bundle carries a copy of this code, so that it works where this package is not installed::

    python classify.py IMAGE...

    from classify import Classifier
    Classifier(folder).predict(images)  # uint8 (N, H, W, 3) -> probabilities (N, classes)
"""

import importlib.util
import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any

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


ONNX_ON_ONE_THREAD = {
    "runtime": "onnxruntime",
    "file": "model.onnx",
    "accelerator": "cpu",
    "threads": 1,
}
"""What bundles run that do not say it: those that were written first."""


class Classifier:
    """The network of a bundle as its device runs it, and the preparation that it was tested with.

    Attributes:
        file: What it runs.
    """

    def __init__(self, folder: Path | str, *, threads: int | None = None) -> None:
        """Load the network.

        Args:
            folder: A bundle: ``subnet.json`` and the file that it names are read.
            threads: CPU threads of a call; None: as many as it was measured with.

        Raises:
            ValueError: If the bundle is for a runtime that this code does not know, or the file
                is not what the runtime loads.
        """
        folder = Path(folder)
        description = json.loads((folder / "subnet.json").read_text())
        self.class_names: list[str] = description["class_names"]
        self.resolution_px: int = description["arch"]["resolution_px"]
        self.image_size_px: int = description["image_size_px"]
        self._mean = np.array(description["mean"], dtype=np.float32)[:, None, None] * 255
        self._std = np.array(description["std"], dtype=np.float32)[:, None, None] * 255
        runs = ONNX_ON_ONE_THREAD | description.get("runs", {})
        if runs["runtime"] not in NETWORKS:
            raise ValueError(
                f"the runtime of a bundle must be one of {', '.join(NETWORKS)}, found "
                f"{runs['runtime']!r} in {folder / 'subnet.json'}"
            )
        self.file: Path = folder / runs["file"]
        self._network = NETWORKS[runs["runtime"]](
            self.file, accelerator=runs["accelerator"], threads=threads or runs["threads"]
        )

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
            self._network(prepared[start : start + BATCH_SIZE])
            for start in range(0, len(prepared), BATCH_SIZE)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.class_names)), np.float32)


class _OnnxNetwork:
    """An ONNX file in ONNX Runtime."""

    def __init__(self, file: Path, *, accelerator: str, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        provider = "CPUExecutionProvider"
        if accelerator == "cuda":
            if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
                provider = "CUDAExecutionProvider"
            else:
                _warn_of_the_cpu(file)
        self._session = onnxruntime.InferenceSession(str(file), options, providers=[provider])
        [graph_input] = self._session.get_inputs()
        self._input_name: str = graph_input.name

    def __call__(self, images: FloatArray) -> FloatArray:
        logits: FloatArray = self._session.run(None, {self._input_name: images})[0]
        return logits


class _TorchNetwork:
    """A file of steps and weights in PyTorch, run by ``network.py`` beside this file."""

    def __init__(self, file: Path, *, accelerator: str, threads: int) -> None:
        import torch

        if accelerator == "cuda" and not torch.cuda.is_available():
            _warn_of_the_cpu(file)
            accelerator = "cpu"
        self._torch, self._threads = torch, threads
        self._network = _load_code("network.py").Network(file.read_bytes(), device=accelerator)

    def __call__(self, images: FloatArray) -> FloatArray:
        torch = self._torch
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                placed = self._network.place(torch.from_numpy(np.ascontiguousarray(images)))
                logits: FloatArray = self._network(placed).cpu().numpy()
        finally:
            torch.set_num_threads(before)
        return logits


NETWORKS: dict[str, type[_OnnxNetwork] | type[_TorchNetwork]] = {
    "onnxruntime": _OnnxNetwork,
    "pytorch": _TorchNetwork,
}
"""By runtime."""


def _load_code(name: str) -> Any:  # noqa: ANN401 - a module
    path = Path(__file__).with_name(name)
    spec = importlib.util.spec_from_file_location("ofa_subnet_network", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _warn_of_the_cpu(file: Path) -> None:
    warnings.warn(
        f"{file} was measured on a CUDA GPU, and none can be used here: it runs on the CPU, "
        "with another latency",
        stacklevel=4,
    )


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
