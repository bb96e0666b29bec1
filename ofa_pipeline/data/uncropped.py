"""Images with the proportions that they are stored with, for augmentation that draws a box of them.

A batch of them is one canvas, as high as the highest and as wide as the widest: each image lies in
its first rows and columns, and the rest is black.
"""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ofa_pipeline.data.decode import Pixels, decode_image, rgb_pixels, shrink

LONGEST_SIDE = 3
"""How many times the shorter side the longer one may have: of a longer image, the middle counts.
A single panorama would otherwise make the canvas of its whole batch large."""
VERSION = 2
"""Of how views of such images are drawn; checkpoints note it. Those without a version are of boxes
of the middle square."""


def uncropped_pixels(content: bytes, shorter_side_px: int) -> Pixels:
    """Decode an image, at most of a shorter side.

    Args:
        content: Bytes of the image file.
        shorter_side_px: Larger images are shrunk to it; smaller ones stay as they are.

    Returns:
        Pixels of shape (H, W, 3), of whose sides none is more than `LONGEST_SIDE` times the other.

    Raises:
        DatasetError: If the content is damaged.
    """
    pixels = rgb_pixels(shrink(decode_image(content), shorter_side_px))
    rows, columns = (_middle(side, min(pixels.shape[:2])) for side in pixels.shape[:2])
    middle = pixels[rows, columns]
    return middle if middle.shape == pixels.shape else middle.copy()  # lets go of the rest


def loses_ends(size: tuple[int, int]) -> bool:
    """Return whether an image of some width and height is so long that only its middle counts."""
    return max(size) > LONGEST_SIDE * min(size)


def on_canvas(images: Sequence[Pixels]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Lay images of any sizes on canvases of one size.

    Args:
        images: Of shape (h, w, 3) each, N of them.

    Returns:
        Pixels of shape (N, 3, H, W), and the rows and columns of each image, shape (N, 2).
    """
    sizes = np.array([image.shape[:2] for image in images], dtype=np.int64)
    height, width = sizes.max(axis=0)
    pixels = np.zeros((len(images), 3, height, width), dtype=np.uint8)
    for place, image in enumerate(images):
        pixels[place, :, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
    return pixels, sizes


def size_of(content: bytes) -> tuple[int, int]:
    """Return width and height of an image file; no pixel is decoded."""
    with Image.open(BytesIO(content)) as image:
        return image.size


def are_squares(contents: Sequence[bytes], side_px: int) -> bool:
    """Return whether all image files are squares of a side; no pixel is decoded."""
    return all(size_of(content) == (side_px, side_px) for content in contents)


def _middle(side: int, shorter: int) -> slice:
    kept = min(side, LONGEST_SIDE * shorter)
    start = (side - kept) // 2
    return slice(start, start + kept)
