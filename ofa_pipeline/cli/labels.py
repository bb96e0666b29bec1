"""Which class of a network a label of a source means: by name, or not at all."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ofa_pipeline.errors import DatasetError

Labels = Literal["name", "index"]
IMAGENET_CLASSES = 1000
WORDNET_ID = re.compile(r"n\d{8}")
SHOWN = 5
BY_INDEX = "Say --labels index if the classes of both have the same order"


@dataclass(frozen=True, slots=True)
class Matching:
    """The classes of a source in a network."""

    index: tuple[int, ...]
    """Class of the network, by label of the source."""
    by: Labels
    note: str = ""
    """A line for the user, where something was taken for granted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """The classes of a network, or of a source."""

    origin: str
    """What has them, for messages."""
    count: int
    names: tuple[str, ...] | None
    """By label; None where the network does not know them."""
    are_numbered: bool = False
    """Whether the source itself numbers its classes, instead of sorting their folders."""


def match_labels(source: Classes, network: Classes, *, by: Labels) -> Matching:
    """Find the network's class for every class of a source.

    Args:
        source: Has names.
        network: May lack names. Then only names that are numbers from 0 on, and the thousand
            WordNet identifiers of ImageNet, are taken by their position.
        by: ``index`` where the user says that both have the same order.

    Raises:
        DatasetError: If a class of the source is none of the network, or its names are not
            known and no order is.
    """
    names = source.names or ()
    if by == "index":
        _check_count(source, network)
        note = f"labels of {source.origin} are positions of the network's classes"
        return Matching(tuple(range(len(names))), "index", f"{note}, as --labels index says")
    if network.names is not None:
        return _by_name(names, network.names, source=source, network=network)
    return _by_order(names, source=source, network=network)


def _by_name(
    names: Sequence[str], known: Sequence[str], *, source: Classes, network: Classes
) -> Matching:
    places = {name: place for place, name in enumerate(known)}
    normal = Counter(map(_normal, known))
    places = {_normal(n): p for n, p in places.items() if normal[_normal(n)] == 1} | places
    index = [places.get(name, places.get(_normal(name))) for name in names]
    unknown = [name for name, place in zip(names, index, strict=True) if place is None]
    if unknown:
        taken = set(index)
        missing = [name for place, name in enumerate(known) if place not in taken]
        raise DatasetError(
            f"the classes of {source.origin} must be among those of {network.origin}, which has "
            f"{network.count} classes. Not among them: {shortened(unknown)}; the network's own "
            f"that are not met: {shortened(missing)}. Names are compared as they are written. "
            f"{BY_INDEX}"
        )
    found = [place for place in index if place is not None]
    _check_different(found, names, source)
    note = ""
    if len(found) < network.count:
        note = (
            f"{source.origin} has {len(found)} of the network's {network.count} classes; "
            "the network may answer with the others all the same"
        )
    return Matching(tuple(found), "name", note)


def _check_different(found: Sequence[int], names: Sequence[str], source: Classes) -> None:
    counts = Counter(found)
    twice = [name for name, place in zip(names, found, strict=True) if counts[place] > 1]
    if twice:
        raise DatasetError(
            f"no two classes of {source.origin} may be one class of the network: {shortened(twice)}"
        )


def _by_order(names: Sequence[str], *, source: Classes, network: Classes) -> Matching:
    _check_count(source, network)
    numbers = {str(number): number for number in range(network.count)}
    if set(names) == set(numbers):
        note = f"{network.origin} names no classes: class N of it is {source.origin}'s class 'N'"
        return Matching(tuple(numbers[name] for name in names), "name", note)
    if network.count == IMAGENET_CLASSES and (source.are_numbered or _are_wordnet_ids(names)):
        note = (
            f"{network.origin} names no classes: its {network.count} are taken to be ImageNet's, "
            f"in the order of {source.origin}, {shortened(names)}"
        )
        return Matching(tuple(range(len(names))), "index", note)
    raise DatasetError(
        f"the classes of {source.origin}, {shortened(names)}, must be found in {network.origin}, "
        f"which does not name its {network.count} classes: their order is anybody's guess. "
        f"{BY_INDEX}"
    )


def _are_wordnet_ids(names: Sequence[str]) -> bool:
    """Whether the names are identifiers such as ``n01440764``, in their order."""
    return list(names) == sorted(names) and all(map(WORDNET_ID.fullmatch, names))


def _check_count(source: Classes, network: Classes) -> None:
    if source.count != network.count:
        raise DatasetError(
            f"{source.origin} must have {network.count} classes, as {network.origin} has, "
            f"got {source.count}"
        )


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def shortened(names: Sequence[str]) -> str:
    """Return the first names for a message."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(repr(name[:40]) for name in names[:SHOWN]) + more) or "none"
