"""Decoded-once images between the two passes of preparation: on disk, a few bytes each in memory.

The first pass does not know yet where an image goes. It appends what it made of each to one file;
the second reads the records back in the order of the shards.
"""

import hashlib
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.data.splits import DIGEST_BYTES, UsableImages

CHANNELS = 3
_HEADER = struct.Struct(f"<{2 * CHANNELS + 1}qII")


@dataclass(frozen=True, slots=True)
class PixelSums:
    """Exact sums over pixels in 0 to 255: adding them up in any order gives the same bits."""

    num_pixels: int
    values: tuple[int, int, int]
    """Sum of each channel."""
    squares: tuple[int, int, int]
    """Sum of the squares of each channel."""


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """What the first pass made of an image."""

    path: str
    label: int
    content: bytes
    """Encoded for storage."""
    sums: PixelSums


class Staging:
    """A file of prepared images; to be used in a ``with``. 38 bytes an image stay in memory."""

    def __init__(self, path: Path) -> None:
        """Create the file."""
        self._file = path.open("w+b")
        self._path = path
        self._size = 0
        self._offsets = array("q")
        self._labels = array("i")
        self._fixed = array("b")
        self._digests = bytearray()
        self._path_keys = bytearray()

    def __enter__(self) -> "Staging":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def append(self, image: PreparedImage, *, digest: bytes, fixed: int) -> None:
        """Add an image.

        Args:
            image: What to read back.
            digest: Keyed hash of its pixels.
            fixed: The source's split of it, as `UsableImages.fixed`.
        """
        path, sums = image.path.encode(), image.sums
        header = _HEADER.pack(
            sums.num_pixels, *sums.values, *sums.squares, len(path), len(image.content)
        )
        self._offsets.append(self._size)
        for part in (header, path, image.content):
            self._size += self._file.write(part)
        self._labels.append(image.label)
        self._fixed.append(fixed)
        self._digests += digest
        self._path_keys += hashlib.blake2b(path, digest_size=8).digest()

    def read(self, index: int) -> PreparedImage:
        """Return an image by its position."""
        self._file.seek(self._offsets[index])
        numbers = _HEADER.unpack(self._file.read(_HEADER.size))
        num_pixels, *sums = numbers[:-2]
        path = self._file.read(numbers[-2]).decode()
        content = self._file.read(numbers[-1])
        values, squares = tuple(sums[:CHANNELS]), tuple(sums[CHANNELS:])
        return PreparedImage(
            path, self._labels[index], content, PixelSums(num_pixels, values, squares)
        )

    def candidates(self) -> UsableImages:
        """Return what the division into splits needs to know of all images."""
        self._file.flush()
        return UsableImages(
            labels=np.array(self._labels, dtype=np.int32),
            digests=np.frombuffer(bytes(self._digests), np.uint8).reshape(-1, DIGEST_BYTES),
            path_keys=np.frombuffer(bytes(self._path_keys), np.uint64),
            fixed=np.array(self._fixed, dtype=np.int8),
        )


def channel_statistics(
    sums: NDArray[np.object_],
) -> tuple[list[float], list[float]]:
    """Return mean and population standard deviation of each channel, of pixels in [0, 1].

    Args:
        sums: Python integers: number of pixels, three sums, three sums of squares. Exact, so the
            one rounding is the last.
    """
    num_pixels, values, squares = int(sums[0]), sums[1 : 1 + CHANNELS], sums[1 + CHANNELS :]
    mean = [float(v) / num_pixels / 255 for v in values]
    # num_pixels * squares - values**2 is exact: no cancellation, whatever the spread.
    spread = [num_pixels * q - v * v for v, q in zip(values, squares, strict=True)]
    std = [float(np.sqrt(float(s))) / num_pixels / 255 for s in spread]
    return mean, std
