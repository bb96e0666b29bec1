"""One small image file of every kind that people have."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.images import encoded, noise

ORIENTATION_TAG = 0x0112


def odd_images(*, height: int = 24, width: int = 37) -> dict[str, bytes]:
    """Return the content of image files by name, each with other pixels."""
    colour = _numbered(height, width)
    deep = np.random.default_rng(99).integers(0, 65536, (height, width)).astype(np.uint16)
    files = {
        "colour.png": encoded(next(colour)),
        "grey.png": encoded(next(colour)[:, :, 0]),
        "grey-alpha.png": _saved(_grey_with_alpha(next(colour)), "PNG"),
        "one-bit.png": _saved(Image.fromarray(next(colour)[:, :, 0]).convert("1"), "PNG"),
        "transparent.png": _saved(_with_alpha(next(colour), next(colour)), "PNG"),
        "key-colour.png": _saved(Image.fromarray(next(colour)), "PNG", transparency=(0, 0, 0)),
        "palette.png": _saved(Image.fromarray(next(colour)).quantize(32), "PNG"),
        "palette-transparent.png": _saved(
            Image.fromarray(next(colour)).quantize(32), "PNG", transparency=3
        ),
        "deep.png": _saved(Image.fromarray(deep), "PNG"),
        "deep.tiff": _saved(Image.fromarray(deep[::-1].copy()), "TIFF"),
        "frames.tiff": _animated(next(colour), next(colour), "TIFF"),
        "animated.gif": _animated(next(colour), next(colour), "GIF"),
        "animated.webp": _animated(next(colour), next(colour), "WEBP", lossless=True),
        "cmyk.jpg": _saved(Image.fromarray(next(colour)).convert("CMYK"), "JPEG", quality=95),
        "large.jpg": _saved(Image.fromarray(noise(500, height=300, width=400)), "JPEG"),
        "long.png": encoded(noise(501, height=3, width=2000)),
        "tall.png": encoded(noise(502, height=1500, width=40)),
        "dot.png": encoded(noise(503, height=1, width=1)),
        "bitmap.bmp": _saved(Image.fromarray(next(colour)), "BMP"),
    }
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[ORIENTATION_TAG] = orientation
        image = Image.fromarray(next(colour))
        files[f"turned-{orientation}.png"] = _saved(image, "PNG", exif=exif)
        files[f"turned-{orientation}.jpg"] = _saved(image, "JPEG", exif=exif, quality=95)
    return files


def _numbered(height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    seed = 0
    while True:
        yield noise(seed, height=height, width=width)
        seed += 1


def _saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=image_format, **options)
    return buffer.getvalue()


def _grey_with_alpha(pixels: NDArray[np.uint8]) -> Image.Image:
    grey, alpha = (Image.fromarray(pixels[:, :, channel]) for channel in (0, 1))
    return Image.merge("LA", (grey, alpha))


def _with_alpha(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.dstack([pixels, alpha[:, :, :1]]))


def _animated(
    first: NDArray[np.uint8], second: NDArray[np.uint8], image_format: str, **options: Any
) -> bytes:
    frames = [Image.fromarray(pixels) for pixels in (first, second)]
    return _saved(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
