"""What a difference of accuracies is worth: paired on the same images, or of independent ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LIMIT = 2.0
"""Standard deviations; a difference that is larger is not called noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyChange:
    """The accuracy of a network before and after something, on the same images."""

    before: float
    """Fraction of images that are right."""
    after: float
    difference: float
    """After minus before: positive where it got better."""
    noise: float
    """Standard deviation of the difference where nothing changed."""
    num_images: int

    @property
    def is_worse(self) -> bool:
        """Whether accuracy fell by more than the noise explains."""
        return self.difference < -LIMIT * self.noise


def compare_paired(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> AccuracyChange:
    """Compare which images were right before and after.

    Images that both or none gets right say nothing about the difference; the others fall to
    either side as a coin does where nothing changed.

    Args:
        before: Whether each image was right, shape (N,), N at least 1.
        after: The same images in the same order.

    Source:
        McNemar 1947, the test for correlated proportions.
    """
    return AccuracyChange(
        before=float(before.mean()),
        after=float(after.mean()),
        difference=(int(after.sum()) - int(before.sum())) / len(before),
        noise=float(np.sqrt((before != after).sum()) / len(before)),
        num_images=len(before),
    )


def proportion_noise(share: float, *, num_images: int) -> float:
    """Return the standard deviation of an accuracy that is measured on so many images."""
    return float(np.sqrt(share * (1 - share) / num_images))


def chance_level(labels: Sequence[int]) -> float:
    """Return the accuracy of always answering the most frequent class, at least 1 / classes.

    Args:
        labels: Labels of the images that accuracy is measured on, at least one.
    """
    return float(np.bincount(labels).max() / len(labels))
