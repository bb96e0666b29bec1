"""``image_folder:PATH``: one folder a class, as ImageNet is laid out."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ofa_pipeline.data.sources.base import SkippedFile, SourceImage, check_classes
from ofa_pipeline.data.splits import SplitName
from ofa_pipeline.errors import DatasetError

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing")
VALIDATION_NAMES = ("val", "valid", "validation")


@dataclass(frozen=True, slots=True)
class _Part:
    """A folder of class folders."""

    folder: Path
    split: SplitName | None


class ImageFolderSource:
    """``PATH/CLASS/IMAGE``, or ``PATH/{train,val,test}/CLASS/IMAGE``.

    With ``train`` beside ``test`` or ``val``, that one is the test split; with all three, ``val``
    is the selection split. Class folders may have folders of their own. Files whose ending is
    not that of an image are skipped and listed; hidden ones are not even listed.
    """

    fixed_splits: frozenset[SplitName]
    class_names: tuple[str, ...]
    num_images: int
    skipped: Sequence[SkippedFile]

    def __init__(self, root: Path) -> None:
        """Look through the folders, without opening an image.

        Raises:
            DatasetError: If there are no class folders, no images, one class only, an empty
                class, or splits with different classes.
        """
        if not root.is_dir():
            found = "a file" if root.exists() else "nothing"
            raise DatasetError(f"image_folder must be a folder of class folders, {root} is {found}")
        self._root = root
        self._endings = frozenset(Image.registered_extensions())
        self._parts = _find_parts(root)
        self.fixed_splits = frozenset(p.split for p in self._parts if p.split is not None)
        self.class_names = tuple(_folders(self._parts[0].folder))
        if not self.class_names:
            raise DatasetError(f"{root} must hold one folder of images a class, it has no folders")
        skipped = [
            SkippedFile(_shown(path.relative_to(root)), "lies outside the class folders")
            for part in self._parts
            for path in _files(part.folder)
        ]
        total = [0] * len(self.class_names)
        for part in self._parts:
            self._check_same_classes(part)
            counts = [self._count(part, name, skipped) for name in self.class_names]
            check_classes(counts, class_names=self.class_names, origin=str(part.folder))
            total = [a + b for a, b in zip(total, counts, strict=True)]
        self.num_images = sum(total)
        self.skipped = tuple(skipped)

    def images(self) -> Iterator[SourceImage]:
        """Yield the images by split, class and name; one folder's names are held at a time."""
        for part in self._parts:
            for label, name in enumerate(self.class_names):
                for path in _walk(part.folder / name):
                    if self._is_image(path):
                        shown = _shown(path.relative_to(self._root))
                        yield SourceImage(shown, label, part.split, path.read_bytes)

    def _is_image(self, path: Path) -> bool:
        ending = path.suffix.lower()
        return not ending or ending in self._endings

    def _count(self, part: _Part, name: str, skipped: list[SkippedFile]) -> int:
        count = 0
        for path in _walk(part.folder / name):
            if self._is_image(path):
                count += 1
            else:
                reason = f"no image format has the ending {path.suffix}"
                skipped.append(SkippedFile(_shown(path.relative_to(self._root)), reason))
        return count

    def _check_same_classes(self, part: _Part) -> None:
        found = set(_folders(part.folder))
        missing = [name for name in self.class_names if name not in found]
        unknown = sorted(found - set(self.class_names))
        if missing or unknown:
            raise DatasetError(
                f"{part.folder} must have the classes of {self._parts[0].folder}; "
                f"missing: {', '.join(missing[:5]) or 'none'}; "
                f"unknown: {', '.join(unknown[:5]) or 'none'}"
            )


def _find_parts(root: Path) -> list[_Part]:
    """Return the split folders, train first; the root alone where there are none."""
    train, test, validation = (
        [root / name for name in _folders(root) if name.lower() in names and _folders(root / name)]
        for names in (TRAIN_NAMES, TEST_NAMES, VALIDATION_NAMES)
    )
    if not train:
        return [_Part(root, None)]
    if not test and not validation:
        return [_Part(train[0], None)]
    parts = [_Part(train[0], None), _Part((test or validation)[0], "test")]
    if test and validation:
        parts.append(_Part(validation[0], "selection"))
    return parts


def _folders(folder: Path) -> list[str]:
    return [path.name for path in _visible(folder) if path.is_dir()]


def _files(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if not path.is_dir()]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of those in it, in order of their names."""
    for current, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(current) / name


def _raise(error: OSError) -> None:
    """Make `os.walk` stop at a folder that may not be read, which it would skip."""
    raise error


def _shown(path: Path) -> str:
    """Return a path as text, with escapes where its name is not UTF-8."""
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")
