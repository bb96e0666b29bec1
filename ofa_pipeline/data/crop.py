"""How an image is resized and cropped for evaluation: in the pipeline, the commands and bundles."""

import math

LARGE_IMAGE_PX = 128
"""From this side on, images are resized and cropped as on ImageNet; below, only resized."""
CROP_FRACTION = 0.875
"""Part of the resized side that the center crop keeps (224 of 256 pixels)."""


def uncropped_side_px(resolution_px: int) -> int:
    """Return the side that a large image is resized to before the middle is cut out."""
    return math.ceil(resolution_px / CROP_FRACTION)


def evaluation_crop(side_px: int, resolution_px: int) -> tuple[int, slice]:
    """Return the side that a square image is resized to, and the rows and columns that are kept.

    Args:
        side_px: Side of the image.
        resolution_px: Side of the network's input.

    Source:
        Once-for-All's ImageNet transform: ``Resize(ceil(r / 0.875)), CenterCrop(r)``.
    """
    if side_px < LARGE_IMAGE_PX:
        return resolution_px, slice(0, resolution_px)
    resized_px = uncropped_side_px(resolution_px)
    start = round((resized_px - resolution_px) / 2)
    return resized_px, slice(start, start + resolution_px)
