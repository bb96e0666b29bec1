"""From the bytes of an image file to upright 8-bit pixels, and back to bytes for storage.

What comes out is gray (mode ``L``) or colour (mode ``RGB``), whatever went in: CMYK, palettes,
16 bits a channel, transparency (shown on white), EXIF orientation. Of an animation, the first
frame counts.
"""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ofa_pipeline.errors import DatasetError

Pixels = NDArray[np.uint8]

MAX_PIXELS = 89_478_485
"""Larger images are refused, as Pillow itself warns about them: 256 MiB of decoded pixels."""
LOSSLESS_UP_TO_PX = 96
"""Resized images are stored as PNG up to this shorter side, as JPEG above it."""
JPEG_QUALITY = 92
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises for content that it cannot read."""
WHITE = (255, 255, 255, 255)
EIGHT_BITS, SIXTEEN_BITS = 255, 65535
PNG_DEPTH_OFFSET, BITS = 24, 8
"""Where a PNG file says how many bits a channel has, and how many it should have."""
ORIENTATION_TAG, UPRIGHT = 0x0112, 1
"""Of EXIF."""
BALLAST_BYTES = 4096
"""Of a file beyond its raw pixels: with more, it is encoded again."""


def read_image(path: Path) -> Pixels:
    """Read an image file.

    Returns:
        Pixels of shape (H, W, 3), upright, RGB.

    Raises:
        DatasetError: If the file cannot be read, or is not an image.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return rgb_pixels(decode_image(content))
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image, and whether its file is as good a place for it as any."""

    image: Image.Image
    """Mode ``L`` or ``RGB``, upright."""
    is_plain: bool
    """The file is a JPEG or PNG of exactly these pixels, and of little else."""


def decode_image(content: bytes) -> Image.Image:
    """Decode an image file to mode ``L`` or ``RGB``, upright.

    Raises:
        DatasetError: If the content is not an image, is cut off, is larger than `MAX_PIXELS`, or
            has pixels without an agreed range.
    """
    return _decode(content, None)[1]


def decode_source_image(content: bytes, *, at_least_px: int) -> DecodedImage:
    """Decode an image file of a source.

    Args:
        content: Of an image file in any format that Pillow reads.
        at_least_px: Shorter side that is enough: a JPEG of four times as much and more is
            decoded at a half, a quarter or an eighth of its size, never below twice this.

    Raises:
        DatasetError: If the content is not an image, is cut off, is larger than `MAX_PIXELS`, or
            has pixels without an agreed range.
    """
    file, pixels = _decode(content, at_least_px)
    return DecodedImage(pixels, _is_plain(file, pixels, content))


def _decode(content: bytes, at_least_px: int | None) -> tuple[ImageFile.ImageFile, Image.Image]:
    """Return the file, closed, and its pixels."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            _check_size(image)
            if at_least_px is not None and image.format == "JPEG":
                image.draft(None, (2 * at_least_px, 2 * at_least_px))
            image.load()
            return image, _to_eight_bits(ImageOps.exif_transpose(image))
    except DatasetError:
        raise
    except UnidentifiedImageError as error:
        raise DatasetError("not an image: the content is of no known image format") from error
    except DECODE_ERRORS as error:
        raise DatasetError(f"not a readable image: {str(error) or type(error).__name__}") from error


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DatasetError(
            f"an image may have {MAX_PIXELS:,} pixels, this one has {width} x {height}"
        )


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in {"L", "RGB"} and "transparency" not in image.info:
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I"):
        return _scale_sixteen_bits(image)
    if image.mode == "F":
        raise DatasetError(
            "pixels must be integers, these are 32-bit floats without an agreed range. "
            "Save the image with 8 or 16 bits a channel"
        )
    if "transparency" in image.info or "A" in image.mode or "a" in image.mode:
        pixels = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, WHITE), pixels).convert("RGB")
    return image.convert("RGB")


def _scale_sixteen_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > SIXTEEN_BITS:
        raise DatasetError(
            f"pixels must lie in 0 to {SIXTEEN_BITS}, these lie in {lowest} to {highest}. "
            "Save the image with 8 or 16 bits a channel"
        )
    ratio = SIXTEEN_BITS // EIGHT_BITS
    return Image.fromarray(((values + ratio // 2) // ratio).astype(np.uint8))


def _is_plain(file: ImageFile.ImageFile, pixels: Image.Image, content: bytes) -> bool:
    width, height = file.size
    return (
        file.format in {"JPEG", "PNG"}
        and file.mode == pixels.mode
        and (file.format == "JPEG" or content[PNG_DEPTH_OFFSET] == BITS)
        and "transparency" not in file.info
        and file.getexif().get(ORIENTATION_TAG, UPRIGHT) == UPRIGHT
        and not getattr(file, "is_animated", False)
        and len(content) < BALLAST_BYTES + len(file.getbands()) * width * height
    )


def rgb_pixels(image: Image.Image) -> Pixels:
    """Return pixels of shape (H, W, 3); gray is repeated over the channels."""
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def center_square(image: Image.Image) -> Image.Image:
    """Return the largest square in the middle; the image itself when it is one."""
    width, height = image.size
    if width == height:
        return image
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


def shrink(image: Image.Image, shorter_side_px: int) -> Image.Image:
    """Resize to a shorter side, keeping proportions; an image that is small enough stays.

    Source:
        Bilinear with antialiasing, as ``torchvision.transforms.Resize`` on a PIL image does.
    """
    width, height = image.size
    side = min(width, height)
    if side <= shorter_side_px:
        return image
    scaled = [max(shorter_side_px, int(shorter_side_px * v / side)) for v in (width, height)]
    return image.resize((scaled[0], scaled[1]), Image.Resampling.BILINEAR)


def square_pixels(content: bytes, side_px: int) -> Pixels:
    """Decode an image for training and evaluation.

    Returns:
        Pixels of shape (side_px, side_px, 3): the shorter side shrunk, the middle square,
        enlarged where the image is smaller.

    Raises:
        DatasetError: If the content is damaged.
    """
    image = center_square(shrink(decode_image(content), side_px))
    if image.size != (side_px, side_px):
        image = image.resize((side_px, side_px), Image.Resampling.BILINEAR)
    return rgb_pixels(image)


def encode(image: Image.Image, *, lossless: bool) -> bytes:
    """Return an image as a PNG, or as a JPEG when it need not be lossless and is large."""
    buffer = io.BytesIO()
    if not lossless and min(image.size) > LOSSLESS_UP_TO_PX:
        image.save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        image.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
