"""Batched transforms: uint8 pixels in, normalized floats out, on the device of the images.

Every resize is a pair of matrix products, ``rows @ image @ columns``, whose weights are those of
Pillow's antialiased bilinear filter. So each image of a batch can have its own crop, scale and
flip without a loop, and the same code is fast on CPU and GPU.

Legend: N batch, H W pixels in, r pixels out.
"""

import math
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from ofa_pipeline.compute import BatchPart, copied_to
from ofa_pipeline.data.crop import evaluation_crop
from ofa_pipeline.data.normalization import Normalization

Augmentation = Literal["none", "crop_flip", "random_resized_crop"]

PADDING_FRACTION = 1 / 8
"""How far `crop_flip` shifts, as a fraction of the side (4 of 32 pixels)."""
SCALE_RANGE = (0.08, 1.0)
"""Area of a random resized crop, as a fraction of the image."""
RATIO_RANGE = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10
BRIGHTNESS = 32 / 255
SATURATION = 0.5
GRAY_WEIGHTS = (0.299, 0.587, 0.114)
"""ITU-R 601, as Pillow and torchvision convert to gray."""


def resize_normalize(images: Tensor, *, resolution_px: int, normalization: Normalization) -> Tensor:
    """Transform images for evaluation.

    Images of fewer than `LARGE_IMAGE_PX` pixels a side are resized whole: small images are
    not cropped. Larger ones are transformed as ImageNet models are evaluated: resize to
    ``ceil(r / 0.875)``, crop the middle ``r``.

    Args:
        images: uint8, shape (N, 3, H, H).
        resolution_px: Side of the result, r.
        normalization: What is subtracted from the pixels, and what they are divided by.

    Returns:
        float32, shape (N, 3, r, r).

    Source:
        Once-for-All's ImageNet transform: ``Resize(ceil(r / 0.875)), CenterCrop(r)``.
    """
    resized_px, kept = evaluation_crop(images.shape[-1], resolution_px)
    with torch.no_grad(), _full_precision(images):
        matrix = _whole_image(images.shape[-1], resized_px, images.device)[:, kept]
        return _normalize(_resample(images, down=matrix, across=matrix), normalization)


def augment(  # noqa: PLR0913 - all that a view depends on, by name
    images: Tensor,
    *,
    kind: Augmentation,
    resolution_px: int,
    normalization: Normalization,
    generator: torch.Generator,
    part: BatchPart | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    """Transform images for training: augment at their own size, then resize.

    ``none`` (aligned images, short training): the evaluation transform.
    ``crop_flip`` (small images): a shift by up to an eighth of the side, black where nothing is,
    and a mirror image for one in two. ``random_resized_crop`` (ImageNet): a box of 8 to 100 % of
    the area, 3:4 to 4:3, resized; mirror image; brightness and saturation jitter.

    Args:
        images: uint8, shape (N, 3, H, H), or (N, 3, H, W) with sizes.
        kind: Which augmentation.
        resolution_px: Side of the result, r.
        normalization: What is subtracted from the pixels, and what they are divided by.
        generator: On the CPU, whatever the device: the same draws everywhere.
        part: Which images of a batch these are: the draws are made for all of it, so that each
            image gets its own whoever transforms it. None: all of the batch.
        sizes: For random resized crops: rows and columns that are of the image, on the CPU, shape
            (N, 2), as `Batch.sizes`. None: all.

    Returns:
        float32, shape (N, 3, r, r).

    Source:
        Once-for-All's ImageNet transform with its "tf" colour jitter; torchvision's RandomCrop
        and RandomResizedCrop, whose distribution of boxes this follows. Torchvision applies the
        colour changes in random order; here brightness comes first.
    """
    if kind == "none":
        return resize_normalize(images, resolution_px=resolution_px, normalization=normalization)
    part = part or BatchPart(0, len(images))
    with torch.no_grad(), _full_precision(images):
        if kind == "crop_flip":
            matrix = _whole_image(images.shape[-1], resolution_px, images.device)
            shifted = _shift_and_flip(images, generator, part)
            return _normalize(_resample(shifted, down=matrix, across=matrix), normalization)
        return _normalize(
            _crop_resized(images, resolution_px, generator, part, sizes), normalization
        )


def _crop_resized(
    images: Tensor,
    resolution_px: int,
    generator: torch.Generator,
    part: BatchPart,
    sizes: Tensor | None,
) -> Tensor:
    """Draw a box of each image, resize it, and change its colours."""
    count, device = len(images), images.device
    height, width = images.shape[-2:]
    sizes = torch.tensor([[height, width]]).expand(count, 2) if sizes is None else sizes
    rows, columns = random_boxes(sizes, generator, part)
    flipped = _one_in_two(part.batch_size, generator)[part.rows(count)]
    down = _filter_matrices(copied_to(device, rows), height, resolution_px)
    across = _filter_matrices(copied_to(device, columns), width, resolution_px)
    across = torch.where(copied_to(device, flipped)[:, None, None], across.flip(1), across)
    return _jitter_color(_resample(images, down=down, across=across), generator, part)


def random_boxes(
    sizes: Tensor, generator: torch.Generator, part: BatchPart
) -> tuple[Tensor, Tensor]:
    """Draw boxes for a random resized crop.

    Args:
        sizes: Rows and columns of each image, shape (N, 2).
        generator: On the CPU; it draws for all of the batch.
        part: Which images of the batch these are.

    Returns:
        Rows and columns, each of shape (N, 2): first pixel and number of pixels.

    Source:
        ``torchvision.transforms.RandomResizedCrop.get_params``: ten attempts, then what of the
        middle has a ratio within the limits.
    """
    count, batch = len(sizes), part.batch_size
    draws = torch.rand(batch, CROP_ATTEMPTS, 2, generator=generator, dtype=torch.float64)
    place = torch.rand(batch, 2, generator=generator, dtype=torch.float64)
    draws, place = draws[part.rows(count)], place[part.rows(count)]
    sides = sizes.double()
    low, high = SCALE_RANGE
    area = sides.prod(dim=1, keepdim=True) * (low + (high - low) * draws[..., 0])
    low, high = (math.log(ratio) for ratio in RATIO_RANGE)
    ratio = torch.exp(low + (high - low) * draws[..., 1])
    boxes = torch.stack([torch.sqrt(area / ratio), torch.sqrt(area * ratio)], dim=-1).round()
    fits = ((boxes >= 1) & (boxes <= sides[:, None])).all(dim=-1)
    first = fits.int().argmax(dim=1)
    is_drawn = fits.any(dim=1, keepdim=True)
    chosen = torch.where(is_drawn, boxes[torch.arange(count), first], _middle_box(sides))
    room = sides - chosen
    starts = torch.where(is_drawn, torch.floor(place * (room + 1)), torch.floor(room / 2))
    found = torch.stack([starts, chosen], dim=-1).float()
    return found[:, 0], found[:, 1]


def _middle_box(sides: Tensor) -> Tensor:
    """Return rows and columns (N, 2) of the largest box in the middle with a ratio that may be."""
    narrowest, widest = RATIO_RANGE
    rows = torch.minimum(sides[:, 0], (sides[:, 1] / narrowest).round())
    columns = torch.minimum(sides[:, 1], (sides[:, 0] * widest).round())
    return torch.stack([rows, columns], dim=1)


def _one_in_two(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5  # noqa: PLR2004 - the name says it


def _shift_and_flip(images: Tensor, generator: torch.Generator, part: BatchPart) -> Tensor:
    count, _, height, width = images.shape
    padding, mine = max(1, round(height * PADDING_FRACTION)), part.rows(count)
    offsets = torch.randint(0, 2 * padding + 1, (2, part.batch_size), generator=generator)[:, mine]
    flipped = _one_in_two(part.batch_size, generator)[mine]
    padded = torch.nn.functional.pad(images, [padding] * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    top, left = copied_to(images.device, offsets)
    crops = windows[torch.arange(count, device=images.device), :, top, left]
    mirrored = copied_to(images.device, flipped)[:, None, None, None]
    return torch.where(mirrored, crops.flip(-1), crops)


def _resample(images: Tensor, *, down: Tensor, across: Tensor) -> Tensor:
    """Multiply images from both sides.

    Args:
        images: uint8, shape (N, 3, H, W).
        down: Weights of rows, shape (N or 1, r, H).
        across: Weights of columns, shape (N or 1, r, W).

    Returns:
        float32 in [0, 255], shape (N, 3, r, r).
    """
    pixels = images.float()
    if len(down) == len(across) == 1:
        return down[0] @ (pixels @ across[0].T)
    return down[:, None] @ (pixels @ across[:, None].transpose(-1, -2))


@lru_cache(maxsize=64)
def _whole_image(side: int, resolution_px: int, device: torch.device) -> Tensor:
    """Return the weights that resize whole images, shape (1, r, H); made once a device."""
    box = torch.tensor([[0.0, float(side)]])
    return copied_to(device, _filter_matrices(box, side, resolution_px))


def _filter_matrices(boxes: Tensor, size: int, resolution_px: int) -> Tensor:
    """Return the weights of each input pixel in each output pixel, shape (N, r, size).

    A triangle around the centre of the output pixel, as wide as two steps between output pixels
    and at least two input pixels, cut off at the edges of the box.

    Args:
        boxes: First pixel and number of pixels of each box, shape (N, 2).
        size: Pixels of the image, along the axis.
        resolution_px: Pixels that the box becomes, r.

    Source:
        ``Pillow/src/libImaging/Resample.c``, ``precompute_coeffs`` with the bilinear filter.
    """
    start, length = boxes[:, :1], boxes[:, 1:]
    step = length / resolution_px
    centers = start + (torch.arange(resolution_px, device=boxes.device) + 0.5) * step
    support = step.clamp(min=1.0)
    positions = torch.arange(size, device=boxes.device) + 0.5
    distance = (positions - centers[..., None]).abs() / support[..., None]
    inside = (positions > start) & (positions < start + length)
    weights = (1 - distance).clamp(min=0) * inside[:, None, :]
    return weights / weights.sum(dim=-1, keepdim=True)


def _jitter_color(pixels: Tensor, generator: torch.Generator, part: BatchPart) -> Tensor:
    """Change brightness and saturation of each image; pixels in [0, 255], in place."""
    drawn = torch.rand(2, part.batch_size, 1, 1, 1, generator=generator)
    draws = copied_to(pixels.device, drawn[:, part.rows(len(pixels))])
    brightness = 1 + BRIGHTNESS * (2 * draws[0] - 1)
    saturation = 1 + SATURATION * (2 * draws[1] - 1)
    pixels.mul_(brightness).clamp_(0, 255)
    weights = _channels(GRAY_WEIGHTS, pixels.device)
    gray = (pixels * weights).sum(dim=1, keepdim=True)
    return torch.lerp(gray.expand_as(pixels), pixels, saturation).clamp_(0, 255)


def _normalize(pixels: Tensor, normalization: Normalization) -> Tensor:
    """Scale pixels in [0, 255] to mean 0 and deviation 1, in place."""
    center = _channels(normalization.mean, pixels.device) * 255
    spread = _channels(normalization.std, pixels.device) * 255
    return pixels.sub_(center).div_(spread)


@lru_cache(maxsize=64)
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return a number a channel, shape (C, 1, 1); made once a device."""
    return copied_to(device, torch.tensor(values))[:, None, None]


def _full_precision(images: Tensor) -> torch.autocast:
    """Keep mixed precision, which the caller may have on, away from the pixels."""
    return torch.autocast(images.device.type, enabled=False)
