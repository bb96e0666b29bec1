"""Which class names are taken as they are, which are refused, and how they are ordered."""

import unicodedata
from collections.abc import Iterable, Sequence

from ofa_pipeline.data.sources.walk import shown
from ofa_pipeline.errors import DatasetError

_TURNING = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Line separators, and characters that turn the direction of a line around."""


def check_class_names(class_names: Sequence[str], *, origin: str) -> None:
    """Check that the names can be shown in a line and written to any file.

    Spaces, commas, quotes, emoji and any script are kept as they are.

    Raises:
        DatasetError: For a name that is not UTF-8, is blank, or holds control characters.
    """
    for name in class_names:
        problem = _problem(name)
        if problem is not None:
            raise DatasetError(
                f"the class names of {origin} must be text in UTF-8, in one line; "
                f"'{shown(name)}' {problem}. Rename it"
            )


def _problem(name: str) -> str | None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    if not name.strip():
        return "is blank"
    if any(unicodedata.category(char) == "Cc" or char in _TURNING for char in name):
        return "holds control characters"
    return None


def in_class_order(names: Iterable[str]) -> list[str]:
    """Return class names in the order of their labels.

    Names that are all whole numbers are ordered as numbers (2 before 10); names of one number
    (1 and 01) by their text. Other names are ordered by their characters.
    """
    ordered = sorted(names)
    if all(name.isascii() and name.isdigit() for name in ordered):
        ordered.sort(key=int)  # stable: names of one number stay in the order of their text
    return ordered


def lookalikes(class_names: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of names that differ in case, spaces or leading zeros only."""
    first: dict[str, str] = {}
    pairs = []
    for name in class_names:
        key = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        key = key.lstrip("0") if key.isdigit() else key
        other = first.setdefault(key, name)
        if other != name:
            pairs.append((other, name))
    return pairs


def normalized(name: str) -> str:
    """Return a folder's name as a class name: accents as macOS and Linux write them are equal."""
    return unicodedata.normalize("NFC", name)
