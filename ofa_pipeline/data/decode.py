"""From the bytes of an image file to upright 8-bit pixels, and back to bytes for storage.

What comes out is gray (mode ``L``) or colour (mode ``RGB``), whatever went in: CMYK, palettes,
16 bits a channel, transparency (shown on white), EXIF orientation. Of an animation, the first
frame counts. HEIC and AVIF are decoded where the installation can.

These rules hold wherever an image is read: by the pipeline, by the commands, and by the
``classify.py`` of a bundle, which carries this file and `formats` word for word. So neither imports
more of this package than its errors (ADR 0093).
"""

import io
import struct
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError, features

from ofa_pipeline.data.formats import describe, heif_kind
from ofa_pipeline.errors import DatasetError

Pixels = NDArray[np.uint8]
ValueRange = tuple[float, float]
"""Values of a file that become 0 and 255."""

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
HEIC_COMMAND = "pip install 'ofa-pipeline[heif]'"
ORIENTATION_TAG, UPRIGHT = 0x0112, 1
"""The EXIF tag that says how an image is rotated, and its value for an upright one."""
BALLAST_BYTES = 4096
"""Bytes that a file may have beyond its raw pixels; with more, it is encoded again."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What an image file is, before anything was made of it."""

    mode: str
    """Pillow's mode, with the bits of a channel where they are more than 8: ``RGB``, ``I;16``."""
    width: int
    height: int
    values: tuple[float, float] | None
    """Lowest and highest value where a channel has more than 8 bits; of colour, to a 256th."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image, and whether its file is as good a place for it as any."""

    image: Image.Image
    """Mode ``L`` or ``RGB``, upright."""
    is_plain: bool
    """The file is a JPEG or PNG of exactly these pixels, and of little else."""
    file: FileFacts


def decode_image(content: bytes, *, value_range: ValueRange | None = None) -> Image.Image:
    """Decode an image file to mode ``L`` or ``RGB``, upright.

    Args:
        content: Bytes of an image file in any format that Pillow reads.
        value_range: As for `decode_source_image`.

    Raises:
        DatasetError: If the content is not an image, is cut off, is larger than `MAX_PIXELS`, or
            has pixels without an agreed range.
    """
    return _decode(content, None, value_range).pixels


def decode_stored(
    content: bytes, image_size_px: int, *, value_range: ValueRange | None = None
) -> Image.Image:
    """Decode an image file as a dataset of this size was decoded, to mode ``L`` or ``RGB``.

    Args:
        content: Bytes of an image file in any format that Pillow reads.
        image_size_px: Shorter side that the dataset stores: a large JPEG is decoded at a part
            of its size, as in `decode_source_image`.
        value_range: As for `decode_source_image`.

    Raises:
        DatasetError: As `decode_image`.
    """
    return _decode(content, image_size_px, value_range).pixels


def decode_source_image(
    content: bytes, *, at_least_px: int, value_range: ValueRange | None = None
) -> DecodedImage:
    """Decode an image file of a source.

    Args:
        content: Bytes of an image file in any format that Pillow reads.
        at_least_px: Shorter side that is enough: a JPEG of four times as much and more is
            decoded at a half, a quarter or an eighth of its size, never below twice this.
        value_range: Values that become 0 and 255 where a channel has more than 8 bits, those
            beyond them included. None: 0 to 65,535 for integers; floats are refused.

    Raises:
        DatasetError: If the content is not an image, is cut off, is larger than `MAX_PIXELS`, or
            has pixels without an agreed range.
    """
    found = _decode(content, at_least_px, value_range)
    return DecodedImage(found.pixels, _is_plain(found.file, found.pixels, content), found.facts)


@dataclass(frozen=True, slots=True)
class _Decoded:
    file: ImageFile.ImageFile
    """Closed."""
    pixels: Image.Image
    facts: FileFacts


def _decode(content: bytes, at_least_px: int | None, value_range: ValueRange | None) -> _Decoded:
    if heif_kind(content) == "HEIC":
        _can_decode_heic()
    try:
        with Image.open(io.BytesIO(content)) as image:
            _check_size(image)
            (width, height), mode = image.size, image.mode
            if at_least_px is not None and image.format == "JPEG":
                image.draft(None, (2 * at_least_px, 2 * at_least_px))
            bits = _bits_a_channel(image, content)
            image.load()
            upright = ImageOps.exif_transpose(image)
            if _is_deep(mode):
                pixels, values = _scale(upright, value_range)
            else:
                _check_depth(bits, value_range)
                pixels, values = _to_eight_bits(upright), None
                if bits > BITS:
                    mode, values = f"{mode};{bits}", _high_bytes(pixels)
            return _Decoded(image, pixels, FileFacts(mode, width, height, values))
    except DatasetError:
        raise
    except UnidentifiedImageError as error:
        raise DatasetError(_why_unknown(content)) from error
    except DECODE_ERRORS as error:
        raise DatasetError(f"not a readable image: {str(error) or type(error).__name__}") from error


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DatasetError(
            f"an image may have {MAX_PIXELS:,} pixels, this one has {width} x {height}"
        )


@cache
def _can_decode_heic() -> bool:
    """Return whether pillow-heif is installed; from then on Pillow decodes HEIC with it."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _why_unknown(content: bytes) -> str:
    kind = heif_kind(content)
    if kind is None:
        return f"not an image: the content is {describe(content)}"
    if kind == "HEIC" and not _can_decode_heic():
        return f"a HEIC image, which needs another package: {HEIC_COMMAND}"
    if kind == "AVIF" and not features.check("avif"):
        return "an AVIF image, which this build of Pillow cannot decode: pip install -U pillow"
    return f"not a readable image: a damaged {kind} file"


def upright_eight_bits(image: Image.Image, *, value_range: ValueRange | None = None) -> Image.Image:
    """Return an opened image in mode ``L`` or ``RGB``, upright.

    Args:
        image: Image of Pillow, in any mode.
        value_range: As for `decode_source_image`.

    Raises:
        DatasetError: If its pixels have no agreed range.
    """
    upright = ImageOps.exif_transpose(image)
    return _scale(upright, value_range)[0] if _is_deep(image.mode) else _to_eight_bits(upright)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in {"L", "RGB"} and "transparency" not in image.info:
        return image
    if image.mode == "1":
        return image.convert("L")
    if "transparency" in image.info or "A" in image.mode or "a" in image.mode:
        pixels = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, WHITE), pixels).convert("RGB")
    return image.convert("RGB")


def _is_deep(mode: str) -> bool:
    """Return whether Pillow keeps more than 8 bits a channel: gray of 16 and 32 bits."""
    return mode == "F" or mode.startswith("I")


def _scale(
    image: Image.Image, value_range: ValueRange | None
) -> tuple[Image.Image, tuple[float, float]]:
    """Return the image with 8 bits, and its lowest and highest value."""
    values = np.asarray(image)
    lowest, highest = float(values.min()), float(values.max())
    if not np.isfinite((lowest, highest)).all():
        raise DatasetError("pixels must be finite, some of these are infinite or not a number")
    if value_range is not None:
        return _scale_to(values, value_range), (lowest, highest)
    found = f"these lie in {lowest:g} to {highest:g}. Set dataset.value_range: [LOW, HIGH], or "
    remedy = "save the image with 8 or 16 bits a channel"
    if image.mode == "F":
        raise DatasetError(
            f"pixels must be integers, these are 32-bit floats without an agreed range: "
            f"{found}{remedy}"
        )
    if lowest < 0 or highest > SIXTEEN_BITS:
        raise DatasetError(f"pixels must lie in 0 to {SIXTEEN_BITS}, {found}{remedy}")
    ratio = SIXTEEN_BITS // EIGHT_BITS
    scaled = (values.astype(np.int64) + ratio // 2) // ratio
    return Image.fromarray(scaled.astype(np.uint8)), (lowest, highest)


def _scale_to(values: NDArray[np.generic], value_range: ValueRange) -> Image.Image:
    low, high = value_range
    share = (values.astype(np.float64) - low) / (high - low)
    return Image.fromarray((np.clip(share, 0, 1) * EIGHT_BITS + 0.5).astype(np.uint8))


def _bits_a_channel(image: Image.Image, content: bytes) -> int:
    """Return the bits of a channel in the file; of several channels, Pillow keeps the upper 8."""
    if image.format == "PNG":
        return content[PNG_DEPTH_OFFSET]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (BITS,))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return BITS


def _check_depth(bits: int, value_range: ValueRange | None) -> None:
    if bits > BITS and value_range is not None:
        raise DatasetError(
            f"dataset.value_range is for gray images, this one has {bits} bits a channel in "
            "colour or with transparency. Save it with 8 bits a channel, or as gray"
        )


def _high_bytes(pixels: Image.Image) -> tuple[float, float]:
    """Return the lowest and highest 16-bit value, from the upper 8 bits that Pillow kept."""
    values = np.asarray(pixels)
    low, high = int(values.min()), int(values.max())
    return float(low << BITS), float((high << BITS) + EIGHT_BITS)


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


def square_pixels(
    content: bytes,
    side_px: int,
    *,
    value_range: ValueRange | None = None,
    as_stored: bool = False,
) -> Pixels:
    """Decode an image for training and evaluation.

    Args:
        content: Bytes of the image file.
        side_px: Height and width of the result.
        value_range: As for `decode_source_image`.
        as_stored: Decode a file of a source as `decode_stored` does.

    Returns:
        Pixels of shape (side_px, side_px, 3).

    Raises:
        DatasetError: If the content is damaged.
    """
    if as_stored:
        return middle_square(decode_stored(content, side_px, value_range=value_range), side_px)
    return middle_square(decode_image(content, value_range=value_range), side_px)


def middle_square(image: Image.Image, side_px: int) -> Pixels:
    """Return pixels of shape (side_px, side_px, 3) of a decoded image.

    The shorter side is shrunk, the middle square cut out, and enlarged where it is smaller.
    """
    square = center_square(shrink(image, side_px))
    if square.size != (side_px, side_px):
        square = square.resize((side_px, side_px), Image.Resampling.BILINEAR)
    return rgb_pixels(square)


def encode(image: Image.Image, *, lossless: bool) -> bytes:
    """Return an image as a PNG, or as a JPEG when it need not be lossless and is large."""
    buffer = io.BytesIO()
    if not lossless and min(image.size) > LOSSLESS_UP_TO_PX:
        image.save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        image.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
