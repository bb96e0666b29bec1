"""The first pass of a preparation: decode each image once, on all cores, and stage it."""

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ofa_pipeline.cores import usable_cores
from ofa_pipeline.data.decode import (
    FileFacts,
    Pixels,
    center_square,
    decode_source_image,
    encode,
    rgb_pixels,
    shrink,
)
from ofa_pipeline.data.options import DatasetOptions
from ofa_pipeline.data.sources import DatasetSource, SourceImage
from ofa_pipeline.data.splits import DIGEST_BYTES, DRAWN, SPLIT_NAMES
from ofa_pipeline.data.staging import CHANNELS, PixelSums, PreparedImage, Staging
from ofa_pipeline.data.survey import Survey
from ofa_pipeline.data.uncropped import loses_ends
from ofa_pipeline.errors import DatasetError
from ofa_pipeline.progress import Reporter

IMAGES_A_TASK = 8
"""Few enough that large photographs in flight do not add up."""
SHOWN = 5
"""Examples in an error message."""
LEVELS = np.arange(256, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    image: PreparedImage
    digest: bytes
    shorter_side_px: int
    file: FileFacts
    is_gray_as_color: bool
    is_panorama: bool


@dataclass(frozen=True, slots=True)
class Excluded:
    """A file of the source that no split gets."""

    path: str
    label: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class FirstPass:
    """What the first pass found."""

    bad: list[Excluded]
    """Images that cannot be decoded."""
    largest_px: int
    """Largest shorter side that is stored."""
    survey: Survey


def stage_images(
    source: DatasetSource, options: DatasetOptions, staging: Staging, reporter: Reporter
) -> FirstPass:
    """Decode, check and stage the images of a source.

    Raises:
        DatasetError: If too many images are unreadable, or the source cannot be read.
    """
    bad: list[Excluded] = []
    largest_px = 0
    survey = Survey(options.image_size_px)
    tracker = reporter.track("decode", total=source.num_images, unit="images")
    for image, found in _decode_all(source, options):
        if isinstance(found, Excluded):
            bad.append(found)
            _check_bad(bad, source, options)
        else:
            fixed = DRAWN if image.split is None else SPLIT_NAMES.index(image.split)
            staging.append(found.image, digest=found.digest, fixed=fixed)
            largest_px = max(largest_px, found.shorter_side_px)
            survey.add(
                found.file,
                is_gray_as_color=found.is_gray_as_color,
                is_panorama=found.is_panorama,
            )
        tracker.advance()
    return FirstPass(bad, largest_px, survey)


def _check_bad(bad: list[Excluded], source: DatasetSource, options: DatasetOptions) -> None:
    allowed = options.max_bad_fraction * source.num_images
    if len(bad) > allowed:
        shown = "; ".join(f"{item.path}: {item.reason}" for item in bad[:SHOWN])
        raise DatasetError(
            f"at most {options.max_bad_fraction:.2%} of the {source.num_images} images of "
            f"{options.source} may be unreadable, found {len(bad)} so far: {shown}. "
            "Repair or remove them, or raise dataset.max_bad_fraction"
        )


def _decode_all(
    source: DatasetSource, options: DatasetOptions
) -> Iterator[tuple[SourceImage, _Decoded | Excluded]]:
    """Decode on all cores, in the order of the source, with a bounded number in flight."""
    num_threads = usable_cores()
    images = source.images()
    pending: deque[tuple[list[SourceImage], Future[list[_Decoded | Excluded]]]] = deque()
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="decode")
    try:
        while True:
            task = list(islice(images, IMAGES_A_TASK))
            if task:
                pending.append((task, pool.submit(_decode_task, task, options)))
            if not pending:
                return
            if not task or len(pending) > 2 * num_threads:
                done, future = pending.popleft()
                yield from zip(done, future.result(), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_task(images: list[SourceImage], options: DatasetOptions) -> list[_Decoded | Excluded]:
    return [_decode(image, options) for image in images]


def _decode(image: SourceImage, options: DatasetOptions) -> _Decoded | Excluded:
    try:
        content = image.read()
        decoded = decode_source_image(
            content, at_least_px=options.image_size_px, value_range=options.value_range
        )
    except DatasetError as error:
        return Excluded(image.path, image.label, str(error))
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror or error}"
        return Excluded(image.path, image.label, reason)
    kept = shrink(decoded.image, options.image_size_px)
    is_resized = kept is not decoded.image
    as_it_is = decoded.is_plain and not is_resized
    stored = content if as_it_is else encode(kept, lossless=not is_resized)
    pixels = rgb_pixels(kept)
    key = options.seed.to_bytes(8, "little")
    digest = hashlib.blake2b(str(pixels.shape).encode(), key=key, digest_size=DIGEST_BYTES)
    digest.update(pixels.tobytes())
    square = center_square(kept)
    histogram = square.histogram()
    prepared = PreparedImage(
        image.path, image.label, stored, _pixel_sums(histogram, square.size[0] ** 2)
    )
    is_gray = kept.mode == "RGB" and _is_gray(histogram, pixels)
    return _Decoded(
        image=prepared,
        digest=digest.digest(),
        shorter_side_px=min(kept.size),
        file=decoded.file,
        is_gray_as_color=is_gray,
        is_panorama=loses_ends(kept.size),
    )


def _is_gray(histogram: list[int], pixels: Pixels) -> bool:
    """Return whether all channels are equal; a coloured image is told by its histogram alone."""
    red, green, blue = histogram[:256], histogram[256:512], histogram[512:]
    return red == green == blue and bool(
        (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    )


def _pixel_sums(histogram: list[int], num_pixels: int) -> PixelSums:
    counts = np.array(histogram, dtype=np.int64).reshape(-1, 256)
    values, squares = counts @ LEVELS, counts @ LEVELS**2
    repeated = CHANNELS // len(counts)
    r, g, b = [int(v) for v in values] * repeated
    rr, gg, bb = [int(v) for v in squares] * repeated
    return PixelSums(num_pixels, (r, g, b), (rr, gg, bb))
