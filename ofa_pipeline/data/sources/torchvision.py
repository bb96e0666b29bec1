"""``torchvision:NAME``: a dataset class of torchvision, from the folder that it keeps its files in.

The only module that imports torchvision, and only when such a source is asked for.
"""

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from ofa_pipeline.data.sources.base import SkippedFile, SourceImage
from ofa_pipeline.data.splits import SplitName
from ofa_pipeline.errors import DatasetError, suggest
from ofa_pipeline.user import expand_home

ROOT_VARIABLE = "OFA_TORCHVISION_ROOT"
DOWNLOAD_VARIABLE = "OFA_TORCHVISION_DOWNLOAD"
DEFAULT_ROOT = Path("~/.cache/ofa-pipeline/torchvision")


_LABELS = ("targets", "labels", "_labels", "y")
"""What datasets call the list of their labels."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """How a dataset class is asked for its splits."""

    argument: str | None
    """Argument of the constructor that names the split; None where there are no splits."""
    splits: tuple[tuple[Any, SplitName | None], ...]
    """Value of the argument, and where those images go; None: to be drawn."""
    num_classes: int | None = None
    """Where the class has no list of names."""


_FLAG = _Entry("train", ((True, None), (False, "test")))
_TWO = _Entry("split", (("train", None), ("test", "test")))
_THREE = _Entry("split", (("train", None), ("val", "selection"), ("test", "test")))
_WHOLE = _Entry(None, ((None, None),))

ENTRIES: dict[str, _Entry] = {
    "CIFAR10": _FLAG,
    "CIFAR100": _FLAG,
    "Caltech101": _WHOLE,
    "Caltech256": _WHOLE,
    "Country211": _Entry("split", (("train", None), ("valid", "selection"), ("test", "test"))),
    "DTD": _THREE,
    "EuroSAT": _WHOLE,
    "FGVCAircraft": _THREE,
    "FashionMNIST": _FLAG,
    "Flowers102": _Entry("split", _THREE.splits, num_classes=102),
    "Food101": _TWO,
    "GTSRB": _Entry("split", _TWO.splits, num_classes=43),
    "ImageNet": _Entry("split", (("train", None), ("val", "test"))),
    "KMNIST": _FLAG,
    "MNIST": _FLAG,
    "OxfordIIITPet": _Entry("split", (("trainval", None), ("test", "test"))),
    "PCAM": _Entry("split", _THREE.splits, num_classes=2),
    "STL10": _TWO,
    "SVHN": _Entry("split", _TWO.splits, num_classes=10),
}
"""The classification datasets that are known to work like this."""


class TorchvisionSource:
    """A classification dataset of torchvision.

    Its files are looked for in ``$OFA_TORCHVISION_ROOT``, and downloaded there only when
    ``$OFA_TORCHVISION_DOWNLOAD`` is 1. A test split of its own stays one, a validation split
    becomes the selection split.
    """

    fixed_splits: frozenset[SplitName]
    class_names: tuple[str, ...]
    num_images: int
    class_counts: Sequence[int]
    skipped: Sequence[SkippedFile] = ()
    notes: Sequence[str] = ()

    def __init__(self, name: str) -> None:
        """Open the dataset's files.

        Raises:
            DatasetError: If there is no such dataset, or its files are not there and may or
                can not be downloaded.
        """
        if name not in ENTRIES:
            raise DatasetError(
                f"torchvision:NAME must be one of {', '.join(sorted(ENTRIES))}, got {name!r}."
                f"{suggest(name, ENTRIES)}"
            )
        entry = ENTRIES[name]
        self._parts = [
            (_open(name, entry.argument, value), value, split) for value, split in entry.splits
        ]
        self.fixed_splits = frozenset(s for _, _, s in self._parts if s is not None)
        self.class_names = _names(self._parts[0][0], entry)
        self.num_images = sum(len(dataset) for dataset, _, _ in self._parts)
        self.class_counts = self._count()

    def images(self) -> Iterator[SourceImage]:
        """Yield the images by split and index.

        The files of datasets that are kept as folders are passed on as they are; other images
        are opened by torchvision, one at a time.
        """
        return self._every(1)

    def sample(self, count: int) -> Iterator[SourceImage]:
        """Yield one image in so many that about `count` come."""
        return self._every(max(1, -(-self.num_images // count)))

    def _every(self, step: int) -> Iterator[SourceImage]:
        for dataset, value, split in self._parts:
            folder = str(value) if isinstance(value, str) else ("train" if value else "test")
            for index in range(0, len(dataset), step):
                yield _image(dataset, index, name=f"{folder}/{index:07d}", split=split)

    def _count(self) -> tuple[int, ...]:
        """Return the images of each class; nothing where the dataset lists no labels."""
        counts = [0] * len(self.class_names)
        for dataset, _, _ in self._parts:
            named = (getattr(dataset, name, None) for name in _LABELS)
            labels = next((found for found in named if found is not None), None)
            if labels is None:
                return ()
            for label in labels:
                counts[int(label)] += 1
        return tuple(counts)


def _image(
    dataset: Any,  # noqa: ANN401 - torchvision's
    index: int,
    *,
    name: str,
    split: SplitName | None,
) -> SourceImage:
    files = getattr(dataset, "samples", None)  # of DatasetFolder
    if files is not None:
        path, label = files[index]
        return SourceImage(name, int(label), split, Path(path).read_bytes)
    try:
        image, label = dataset[index]
    except (OSError, SyntaxError, ValueError) as error:
        return SourceImage(name, 0, split, partial(_fail, str(error)))
    return SourceImage(name, int(label), split, partial(_as_bytes, image))


def _open(name: str, argument: str | None, value: object) -> Any:  # noqa: ANN401 - torchvision's
    import torchvision.datasets

    root = expand_home(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT)
    options = {} if argument is None else {argument: value}
    if name != "ImageNet":
        options["download"] = os.environ.get(DOWNLOAD_VARIABLE) == "1"
    try:
        return getattr(torchvision.datasets, name)(str(root), **options)
    except (RuntimeError, OSError, ImportError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DatasetError(
            f"torchvision:{name} must have its files in {root}: {reason}. Put them there, name "
            f"another folder in {ROOT_VARIABLE}, or allow the download with {DOWNLOAD_VARIABLE}=1"
        ) from error


def _names(dataset: Any, entry: _Entry) -> tuple[str, ...]:  # noqa: ANN401 - torchvision's
    names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    if names is None or (entry.num_classes and len(names) != entry.num_classes):
        return tuple(str(label) for label in range(entry.num_classes or 0))
    flat = [name if isinstance(name, str) else name[0] for name in names]
    return tuple(
        name if flat.count(name) == 1 else f"{name} ({label})" for label, name in enumerate(flat)
    )


def _as_bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _fail(reason: str) -> bytes:
    raise DatasetError(f"torchvision cannot read it: {reason}")
