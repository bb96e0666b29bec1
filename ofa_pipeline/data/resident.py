"""A split whose decoded images lie on an accelerator: batches are chosen there, nothing is copied.

Legend: N images, H pixels.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ofa_pipeline.compute import copied_to
from ofa_pipeline.data.dataset import ALL_ROWS, Batch, Split
from ofa_pipeline.data.uncropped import VERSION

if TYPE_CHECKING:
    import torch

    from ofa_pipeline.data.transforms import Augmentation

SHARE_OF_FREE_MEMORY = 0.125
"""What the images of one purpose may take of an accelerator: most of it is for features."""
CPU_BYTES = 1 << 30


class Shuffled(Protocol):
    """What training asks of images."""

    def shuffled_batches(
        self,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        start_batch: int = 0,
        rows: slice = ALL_ROWS,
    ) -> Iterator[Batch]:
        """Yield whole batches, or some rows of each; see `Split.shuffled_batches`."""
        ...


def room_for_images(device: "torch.device") -> int:
    """Return how many bytes of a device the images of one purpose may take."""
    if device.type != "cuda":
        return CPU_BYTES
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return int(SHARE_OF_FREE_MEMORY * free)


def augmentation_version(split: Split, augmentation: "Augmentation") -> str | None:
    """Return in which way views of a split are drawn; None for the one that never was another.

    Networks that were trained in two ways are two networks.
    """
    if augmentation != "random_resized_crop" or not isinstance(split, Split):
        return None
    return f"{VERSION} (boxes of whole images)" if split.uncropped().is_uncropped else None


def near_device(
    split: Split, device: "torch.device", *, augmentation: "Augmentation" = "none"
) -> Shuffled:
    """Return the split with its images on an accelerator, or as it is where they do not fit.

    The batches are the same. Images that do not fit the split's memory limit or their share of the
    accelerator's are streamed, as are those of other proportions than squares where the
    augmentation draws boxes of all of an image.
    """
    if augmentation == "random_resized_crop" and isinstance(split, Split):
        split = split.uncropped()
    if device.type != "cuda" or not split.fits_memory:
        return split
    is_small = split.images().nbytes <= room_for_images(device)
    return ResidentSplit(split, device) if is_small else split


class ResidentSplit:
    """All images of a split on one device."""

    def __init__(self, split: Split, device: "torch.device") -> None:
        """Copy the images, uint8 of shape (N, 3, H, H), and their labels."""
        self._split = split
        self._images = split.images().to(device)
        self._labels = split.labels.to(device)

    def shuffled_batches(
        self,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        start_batch: int = 0,
        rows: slice = ALL_ROWS,
    ) -> Iterator[Batch]:
        """Yield the batches of the split, on the device.

        Raises:
            DatasetError: If there is not even one batch.
        """
        import torch

        chunks = self._split.shuffled_ids(
            batch_size, seed=seed, epoch=epoch, start_batch=start_batch, rows=rows
        )
        if not chunks:
            return
        order = copied_to(self._images.device, torch.from_numpy(np.concatenate(chunks)))
        for ids in torch.split(order, [len(chunk) for chunk in chunks]):
            yield Batch(self._images.index_select(0, ids), self._labels.index_select(0, ids), ids)
