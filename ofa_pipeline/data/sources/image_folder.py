"""``image_folder:PATH``: one folder a class, as ImageNet is laid out."""

import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from ofa_pipeline.data.sources.base import SkippedFile, SourceImage, check_classes
from ofa_pipeline.data.sources.class_names import check_class_names, in_class_order, normalized
from ofa_pipeline.data.sources.split_folders import Part, check_no_broken_link, find_parts
from ofa_pipeline.data.sources.walk import (
    CIRCLE,
    NO_FILE,
    FolderKey,
    Listing,
    is_probably_image,
    key_of,
    keys_above,
    leads_back,
    list_folder,
    shown,
    walk,
)
from ofa_pipeline.data.splits import SplitName
from ofa_pipeline.errors import DatasetError

MAX_FILE_BYTES = 1 << 30
"""Larger files are not read: no image of the largest size that is decoded needs as much."""
OUTSIDE = "lies outside the class folders"
IMAGE_OUTSIDE = "an image outside the class folders: it has no class"


class ImageFolderSource:
    """``PATH/CLASS/IMAGE``, or ``PATH/{train,val,test}/CLASS/IMAGE``.

    With ``train`` beside ``test`` or ``val``, that one is the test split; with all three, ``val``
    is the selection split. Class folders may have folders of their own, and links to others.
    Every file in them is an image to decode, but for texts; those are skipped and listed.
    """

    fixed_splits: frozenset[SplitName]
    class_names: tuple[str, ...]
    num_images: int
    class_counts: Sequence[int]
    skipped: Sequence[SkippedFile]
    notes: Sequence[str]

    def __init__(self, root: Path) -> None:
        """Look through the folders; only files that are not called as images are looked into.

        Raises:
            DatasetError: If there are no class folders, no images, one class only, an empty
                class, names that cannot be used, splits with different classes, or folders that
                look like splits and are not understood.
        """
        if not root.is_dir():
            found = "is a file" if root.exists() else "does not exist"
            raise DatasetError(f"image_folder must be a folder of class folders, {root} {found}")
        self._root = root
        self._above = keys_above(root)
        skipped: list[SkippedFile] = []
        parts, passed = find_parts(root, above=self._above)
        skipped += [SkippedFile(self._shown(found.path), found.problem or "") for found in passed]
        self._parts = [(part, self._class_folders(part, skipped)) for part in parts]
        self.fixed_splits = frozenset(part.split for part in parts if part.split is not None)
        self.class_names = tuple(in_class_order(self._parts[0][1]))
        if not self.class_names:
            raise DatasetError(f"{root} must hold one folder of images a class, it has no folders")
        check_class_names(self.class_names, origin=shown(root))
        self._check_not_wrapped()
        total = [0] * len(self.class_names)
        self._nested: Counter[str] = Counter()
        for part, folders in self._parts:
            self._check_same_classes(part, folders)
            above = self._above | keys_above(part.folder)
            counts = [self._count(folders[name], above, skipped) for name in self.class_names]
            check_classes(counts, class_names=self.class_names, origin=shown(part.folder))
            total = [a + b for a, b in zip(total, counts, strict=True)]
        self.num_images, self.class_counts = sum(total), tuple(total)
        self.skipped = tuple(skipped)
        self.notes = tuple(self._nested_note())

    def images(self) -> Iterator[SourceImage]:
        """Yield the images by split, class and name; one folder's names are held at a time."""
        for part, folders in self._parts:
            above = self._above | keys_above(part.folder)
            for label, name in enumerate(self.class_names):
                for found in walk(folders[name], above=above):
                    if found.problem is None:
                        read = partial(_read, found.path)
                        yield SourceImage(self._shown(found.path), label, part.split, read)

    def sample(self, count: int) -> Iterator[SourceImage]:
        """Yield one image in so many that about `count` come."""
        yield from islice(self.images(), None, None, max(1, -(-self.num_images // count)))

    def _shown(self, path: Path) -> str:
        return shown(path.relative_to(self._root))

    def _class_folders(self, part: Part, skipped: list[SkippedFile]) -> dict[str, Path]:
        """Return the class folders of a part by the name of the class; list other files."""
        folder, listing = part.folder, list_folder(part.folder)
        check_no_broken_link(folder, listing)
        skipped += [SkippedFile(self._shown(folder / n), why) for n, why in listing.others]
        for name in listing.files:
            reason = IMAGE_OUTSIDE if is_probably_image(folder / name) else OUTSIDE
            skipped.append(SkippedFile(self._shown(folder / name), reason))
        return self._named(part, listing, skipped)

    def _named(self, part: Part, listing: Listing, skipped: list[SkippedFile]) -> dict[str, Path]:
        folders: dict[str, Path] = {}
        homes: dict[FolderKey, Path] = {}
        for name in listing.all_folders:
            path = part.folder / name
            if leads_back(path):
                skipped.append(SkippedFile(self._shown(path), CIRCLE))
                continue
            key = key_of(path)
            if normalized(name) in folders or key in homes:
                other = folders.get(normalized(name)) or homes[key]
                is_spelling = other.name != name and normalized(other.name) == normalized(name)
                how = " but for how its accents are written in Unicode" if is_spelling else ""
                raise DatasetError(
                    f"every class must have a name and a folder of its own, {shown(path)} is "
                    f"the same as {shown(other)}{how}. Remove one of them"
                )
            folders[normalized(name)] = homes[key] = path
        return folders

    def _check_not_wrapped(self) -> None:
        [first, *others] = self.class_names
        folder = self._parts[0][1][first]
        inside = list_folder(folder).all_folders
        if not others and inside:
            raise DatasetError(
                f"{shown(self._parts[0][0].folder)} must hold at least two class folders, it has "
                f"one: {shown(first)}/, with folders in it ({_listed(inside)}). Are those the "
                f"classes or splits? Then name image_folder:{shown(folder)}"
            )

    def _count(self, folder: Path, above: frozenset[FolderKey], skipped: list[SkippedFile]) -> int:
        count = 0
        for found in walk(folder, above=above):
            if found.problem is None:
                count += 1
                if found.path.parent != folder:
                    self._nested[self._shown(found.path.parent)] += 1
            else:
                skipped.append(SkippedFile(self._shown(found.path), found.problem))
        return count

    def _nested_note(self) -> Iterator[str]:
        """Say that folders within class folders are no classes: their names appear nowhere."""
        if self._nested:
            some = ", ".join(list(self._nested)[:3])
            more = ", ..." if len(self._nested) > 3 else ""  # noqa: PLR2004 - as above
            yield (
                f"{self._nested.total():,} images lie in folders within class folders ({some}"
                f"{more}): they are images of the class above"
            )

    def _check_same_classes(self, part: Part, folders: Mapping[str, Path]) -> None:
        missing = [name for name in self.class_names if name not in folders]
        unknown = sorted(set(folders) - set(self.class_names))
        if missing or unknown:
            raise DatasetError(
                f"{shown(part.folder)} must have the classes of "
                f"{shown(self._parts[0][0].folder)}; missing: {_listed(missing)}; "
                f"unknown: {_listed(unknown)}"
            )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(shown(name) for name in names[:5]) or "none"


def _read(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        DatasetError: If it is too large to be an image, or a pipe or device, which might never
            end.
        OSError: If it cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise DatasetError(f"not an image: {NO_FILE}")
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise DatasetError(f"not an image: larger than {MAX_FILE_BYTES >> 20:,} MiB")
    return content
