"""What the pixels of a network's input are shifted and scaled by."""

from collections.abc import Sequence
from dataclasses import dataclass

Channels = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """Mean and standard deviation of each channel, of pixels in [0, 1]."""

    mean: Channels
    std: Channels

    @classmethod
    def of(cls, mean: Sequence[float], std: Sequence[float]) -> "Normalization":
        """Build from the three numbers each of a document.

        Raises:
            ValueError: If there are not three.
        """
        return cls(mean=_channels(mean), std=_channels(std))


IMAGENET_NORMALIZATION = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def _channels(values: Sequence[float]) -> Channels:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
