"""Pictures of the dataset as a page shows them: values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image of the dataset, as a page shows it."""

    uri: str
    """``data:`` and the encoded image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPictures:
    """Training images of a class."""

    name: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPictures:
    """Test images of a class that were taken for another."""

    true: str
    predicted: str
    count: int
    """How many there are; some are shown."""
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """What the images look like, and which the most accurate subnet gets wrong."""

    image_size_px: int
    classes: tuple[ClassPictures, ...]
    """All, or those that are missed most often."""
    num_classes: int
    errors: tuple[ErrorPictures, ...]
    """The most frequent confusions first."""
    files: tuple[str, ...]
