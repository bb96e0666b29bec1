"""Classify images with a bundle: its folder, numpy, Pillow and the runtime of its device.

``runs`` in ``subnet.json`` says which runtime that is and which file it runs: the one that was
measured and whose accuracy is reported. Every bundle carries this code, so that it works where
the package is not installed::

    python classify.py IMAGE...

    from classify import Classifier
    classifier = Classifier(folder)
    classifier.predict(images)  # uint8 (N, H, W, 3) -> probabilities (N, classes)
    classifier.predict_files(paths)  # image files, as the dataset was read

What is imported from the package here is written into the bundle's copy (`shipped_code`).
"""

import importlib.util
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ofa_pipeline.data.crop import evaluation_crop
from ofa_pipeline.data.decode import decode_stored, middle_square
from ofa_pipeline.devices import CODE_FOLDER, RunningNetwork, network_classes
from ofa_pipeline.errors import DatasetError, ManifestMismatchError
from ofa_pipeline.specialize.shipped_checks import (
    IMAGE_DIMENSIONS,
    ONNX_ON_ONE_THREAD,
    check_description,
    check_digests,
    read_document,
    value_range_of,
)

FloatArray = NDArray[np.float32]
Squares = NDArray[np.uint8]
BATCH_SIZE = 256
"""Images a call of the network, at most."""


class Classifier:
    """The network of a bundle as its device runs it, and the preparation that it was tested with.

    Attributes:
        file: What it runs.
    """

    def __init__(
        self, folder: Path | str, *, threads: int | None = None, prefer_onnx: bool = False
    ) -> None:
        """Check the bundle and load the network.

        Args:
            folder: A bundle: ``subnet.json`` and the file that it names are read, after their
                SHA-256 was compared with that in ``card.json``, where there is one.
            threads: CPU threads of a call; None: as many as it was measured with.
            prefer_onnx: Where it was measured in float32 on a CPU, run ``model.onnx`` in ONNX
                Runtime, whatever its device runs: importing torch takes longer than all else. Its
                answers were compared with the network's when the bundle was made. And in any case
                where what its device runs is a program, not data: that is not opened then.

        Raises:
            MissingArtifactError: If one of its files is not there.
            ManifestMismatchError: If one was changed, cannot be used, or is for a runtime that
                this code does not know.
        """
        folder = Path(folder)
        path = folder / "subnet.json"
        description = read_document(path)
        check_description(description, path)
        runs = ONNX_ON_ONE_THREAD | description.get("runs", {})
        onnx_file: str = ONNX_ON_ONE_THREAD["file"]
        is_plain = (runs["accelerator"], runs["precision"]) == ("cpu", "fp32")
        is_code = network_classes()[runs["runtime"]].is_code
        if prefer_onnx and (is_code or (is_plain and (folder / onnx_file).is_file())):
            runs = {**ONNX_ON_ONE_THREAD, "threads": runs["threads"]}
        runtime: str = runs["runtime"]
        code_names = network_classes()[runtime].code_names
        check_digests(folder, ("subnet.json", runs["file"], *code_names))
        self.class_names: list[str] = description["class_names"]
        self.resolution_px: int = description["arch"]["resolution_px"]
        self.image_size_px: int = description["image_size_px"]
        self.value_range = value_range_of(description)
        self._mean = np.array(description["mean"], dtype=np.float32)[:, None, None] * 255
        self._std = np.array(description["std"], dtype=np.float32)[:, None, None] * 255
        self.file: Path = folder / runs["file"]
        given = {"options": runs["options"]} if runs.get("options") else {}
        self._network = _open_network(
            self.file,
            runtime,
            accelerator=runs["accelerator"],
            threads=threads or runs["threads"],
            **given,
        )

    def predict_files(self, paths: Iterable[Path | str]) -> FloatArray:
        """Return the probability of every class for image files.

        They are decoded as the dataset was: upright, transparency on white, 16 bits scaled.

        Returns:
            Shape (N, classes).

        Raises:
            DatasetError: If one cannot be read, or is not an image; the message names it.
        """
        squares = [self.read(path) for path in paths]
        side = self.image_size_px
        return self.predict(np.array(squares, np.uint8).reshape(-1, side, side, 3))

    def read(self, path: Path | str) -> Squares:
        """Return an image file as the dataset would store and load it, shape (H, H, 3).

        Raises:
            DatasetError: If it cannot be read, or is not an image; the message names it.
        """
        try:
            content = Path(path).read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DatasetError(f"{path} cannot be read: {reason}") from error
        try:
            side, values = self.image_size_px, self.value_range
            return middle_square(decode_stored(content, side, value_range=values), side)
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error

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

        Raises:
            ManifestMismatchError: If the network takes or gives something else than
                ``subnet.json`` says, or no numbers.
        """
        parts = [
            self._answer(prepared[start : start + BATCH_SIZE])
            for start in range(0, len(prepared), BATCH_SIZE)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.class_names)), np.float32)

    def _answer(self, prepared: FloatArray) -> FloatArray:
        wanted = (
            f"{self.file} must take images {prepared.shape} and give "
            f"{len(self.class_names)} finite numbers for each, as subnet.json says"
        )
        try:
            logits = self._network(prepared)
        except Exception as error:
            raise ManifestMismatchError(f"{wanted}, but: {_first_line(error)}") from error
        if logits.shape != (len(prepared), len(self.class_names)):
            raise ManifestMismatchError(f"{wanted}; it gives {logits.shape}")
        if not np.isfinite(logits).all():
            raise ManifestMismatchError(f"{wanted}; some of its numbers are infinite or none")
        return logits


def _open_network(
    file: Path, runtime: str, *, accelerator: str, threads: int, **given: dict[str, Any]
) -> RunningNetwork:
    network_class = network_classes()[runtime]
    if not network_class.supports(accelerator):
        _warn_of_the_cpu(file)
        accelerator = "cpu"
    try:
        return network_class(
            file.read_bytes(),
            accelerator=accelerator,
            threads=threads,
            import_code=_import_code,
            **given,
        )
    except ImportError:
        raise
    except Exception as error:
        raise ManifestMismatchError(
            f"{file} must be a network that {runtime} can run, but: {_first_line(error)}. "
            "Fetch or build the bundle again"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _import_code(name: str) -> Any:  # noqa: ANN401 - a module
    path = CODE_FOLDER / name
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


def _stored_size(images: NDArray[np.uint8], side_px: int) -> Squares:
    """Bring images to squares of `side_px`, as the dataset stored them."""
    if images.shape[1:3] == (side_px, side_px):
        return images
    squares = [middle_square(Image.fromarray(pixels), side_px) for pixels in images]
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
    resized_px, middle = evaluation_crop(side, resolution_px)
    step = side / resized_px
    centers = (np.arange(resized_px) + 0.5) * step
    distance = np.abs(np.arange(side) + 0.5 - centers[:, None]) / max(step, 1.0)
    triangle = np.clip(1 - distance, 0, None)
    weights = (triangle / triangle.sum(axis=1, keepdims=True)).astype(np.float32)
    kept = weights[middle]
    resampled: FloatArray = kept @ (planes @ kept.T)
    return resampled


# ---- python classify.py IMAGE... ---------------------------------------------------------------


def main(paths: list[str]) -> int:
    """Print the most likely class of each image file, one line each.

    Returns:
        0, or 1 if one could not be read; the others are classified all the same.
    """
    if not paths:
        sys.stderr.write("usage: python classify.py IMAGE...\n")
        return 2
    classifier = Classifier(Path(__file__).resolve().parent)
    failed = 0
    for path in paths:
        try:
            [probabilities] = classifier.predict_files([path])
        except DatasetError as error:
            failed += 1
            sys.stderr.write(f"error: {error}\n")
            continue
        label = int(probabilities.argmax())
        sys.stdout.write(f"{path}\t{classifier.class_names[label]}\t{probabilities[label]:.4f}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
