"""From the bytes of an image file to upright 8-bit pixels, and back to bytes for storage.

What comes out is gray (mode ``L``) or colour (mode ``RGB``), whatever went in: CMYK, palettes,
16 bits a channel, transparency (shown on white), EXIF orientation. Of an animation, the first
frame counts.
"""

import io
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

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
PNG_DEPTH_OFFSET = 24
"""Of the byte of a PNG file that says how many bits a channel has."""


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


def decode_image(content: bytes, *, at_least_px: int | None = None) -> Image.Image:
    """Decode an image to mode ``L`` or ``RGB``.

    Args:
        content: Of an image file in any format that Pillow reads.
        at_least_px: Shorter side that is enough: a JPEG of four times as much and more is
            decoded at a half, a quarter or an eighth of its size, never below twice this.

    Raises:
        DatasetError: If the content is not an image, is cut off, is larger than `MAX_PIXELS`, or
            has pixels without an agreed range.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            _check_size(image)
            if at_least_px is not None and image.format == "JPEG":
                image.draft(None, (2 * at_least_px, 2 * at_least_px))
            image.load()
            return _to_eight_bits(ImageOps.exif_transpose(image))
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
    """Decode a stored image for training and evaluation.

    Returns:
        Pixels of shape (side_px, side_px, 3): the middle square, resized where the image was
        stored at another size.

    Raises:
        DatasetError: If the content is damaged.
    """
    image = center_square(decode_image(content))
    if image.size != (side_px, side_px):
        image = image.resize((side_px, side_px), Image.Resampling.BILINEAR)
    return rgb_pixels(image)


def encode_for_storage(image: Image.Image, content: bytes, *, resized: bool) -> bytes:
    """Return the bytes to store.

    The file's own bytes stay when they hold just these pixels and little else; otherwise PNG,
    or JPEG for large images that were resized anyway.

    Args:
        image: What `decode_image` returned, perhaps resized.
        content: What it was decoded from.
        resized: Whether it was resized.
    """
    if not resized and _is_plain(content, image):
        return content
    buffer = io.BytesIO()
    if resized and min(image.size) > LOSSLESS_UP_TO_PX:
        image.save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        image.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def _is_plain(content: bytes, image: Image.Image) -> bool:
    """Say whether a file holds exactly the decoded pixels: same mode, upright, no ballast."""
    with Image.open(io.BytesIO(content)) as stored:
        same = stored.mode == image.mode and stored.size == image.size
        plain = "transparency" not in stored.info and stored.getexif().get(0x0112, 1) == 1
        deep = stored.format == "PNG" and content[PNG_DEPTH_OFFSET] > 8  # noqa: PLR2004 - bits
        known = stored.format in {"JPEG", "PNG"} and not getattr(stored, "is_animated", False)
    ballast = len(content) > 4096 + 4 * image.size[0] * image.size[1] * len(image.getbands())
    return same and plain and known and not deep and not ballast
