"""Which of the registered subnets a look-up sees.

One rule for every question. Which of them answers is told in `comparison`. Nothing here knows where
the subnets are kept.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ofa_pipeline.errors import RegistryError, shown, suggest
from ofa_pipeline.params import ANY_DATASET
from ofa_pipeline.registry.record import RegisteredSubnet, SubnetRecord

_DIGEST = re.compile(r"[0-9a-f]+")
_SHOWN_DIGITS = 12
"""Digits of a digest in messages and tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeDataset:
    """The dataset of the workspace that asks."""

    name: str
    """As registered models are named after it."""
    digest: str = ""
    """Digest of the prepared dataset; empty before it is prepared."""


def dataset_label(record: SubnetRecord) -> str:
    """Return how a subnet's dataset is shown: its name; without one, how its digest begins."""
    return record.dataset or record.dataset_digest[:_SHOWN_DIGITS] or "unknown"


def visible(
    subnets: Iterable[RegisteredSubnet], *, dataset: str | None, home: HomeDataset | None
) -> tuple[RegisteredSubnet, ...]:
    """Return the subnets that a look-up is about, in their order.

    Args:
        subnets: Everything that is registered.
        dataset: A name, the beginning of a digest, or `ANY_DATASET`. None: the dataset of the
            workspace that asks; where nobody's workspace asks, all of them.
        home: The dataset of the workspace that asks.
    """
    found = tuple(subnets)
    if dataset == ANY_DATASET or (dataset is None and home is None):
        return found
    if dataset is None:
        assert home is not None
        return _at_home(found, home)
    named = tuple(item for item in found if item.record.dataset == dataset)
    if named or not _DIGEST.fullmatch(dataset):
        return named
    return tuple(item for item in found if item.record.dataset_digest.startswith(dataset))


def comparable(
    subnets: Sequence[RegisteredSubnet], *, dataset: str | None, home: HomeDataset | None
) -> tuple[RegisteredSubnet, ...]:
    """Narrow what a look-up sees to subnets whose accuracies compare: measured on the same images.

    The images behind a name change with time. A workspace that asks for its own dataset gets the
    images that it holds, where subnets of them are registered; else the newest ones of that name
    answer. `ANY_DATASET` widens what is seen, and never what is compared.

    Args:
        subnets: What `visible` returned, the newest first; at least one.
        dataset: As for `visible`.
        home: As for `visible`.

    Raises:
        RegistryError: If subnets of several datasets are left and nothing says which is meant.
    """
    if dataset == ANY_DATASET:
        dataset, home = None, None
    if dataset is None and home is not None:
        own = of_digest(subnets, home.digest) if home.digest else ()
        return own or of_digest(subnets, subnets[0].record.dataset_digest)
    names = dataset_names(subnets)
    if dataset is not None and all(item.record.dataset != dataset for item in subnets):
        # The beginning of a digest means one digest, whatever several are called.
        names = {digest: f"{name} {digest[:_SHOWN_DIGITS]}" for digest, name in names.items()}
    if len(set(names.values())) > 1:
        what = (
            "several are registered" if dataset is None else f"several begin with {shown(dataset)}"
        )
        raise RegistryError(
            f"which dataset is meant? Accuracies on different ones do not compare, and {what}: "
            f"{', '.join(sorted(set(names.values())))}. Name one (--dataset NAME, or dataset= in "
            "Python), or ask from a workspace, which means its own."
        )
    return of_digest(subnets, subnets[0].record.dataset_digest)


def dataset_names(subnets: Iterable[RegisteredSubnet]) -> dict[str, str]:
    """Return what to call each dataset, by its digest.

    Subnets that were registered before datasets had names count under the name that others
    with the same digest have.
    """
    names: dict[str, str] = {}
    for item in subnets:
        digest = item.record.dataset_digest
        if item.record.dataset or digest not in names:
            names[digest] = dataset_label(item.record)
    return names


def unknown_dataset(
    subnets: Iterable[RegisteredSubnet],
    *,
    dataset: str | None,
    home: HomeDataset | None,
    device: str | None,
    where: str,
) -> RegistryError:
    """Return the error of a look-up that sees nothing although something is registered.

    Args:
        subnets: What is registered, of any dataset.
        dataset: As asked.
        home: The dataset of the workspace that asked.
        device: As asked.
        where: The registry, for the message.
    """
    every = tuple(subnets)
    names = dataset_names(every)
    # The same images may be registered under several names.
    known = sorted({item.record.dataset or names[item.record.dataset_digest] for item in every})
    wanted = dataset if dataset is not None else home.name if home is not None else ""
    on_device = f" measured on {device}" if device else ""
    own = " (this workspace's)" if dataset is None else ""
    return RegistryError(
        f"no subnet{on_device} of the dataset {shown(wanted)}{own} is registered on {where}."
        f"{suggest(wanted, known) or ' Registered: ' + ', '.join(known) + '.'} "
        f"Choose another with --dataset NAME, or --dataset {ANY_DATASET}; or register some with: "
        "ofa-pipeline run"
    )


def _at_home(
    subnets: tuple[RegisteredSubnet, ...], home: HomeDataset
) -> tuple[RegisteredSubnet, ...]:
    """Return the subnets of a workspace's dataset.

    Those that were registered without a name are known by the digest, and left out where the
    same content was registered again under the name.
    """
    named = {item.record.bundle_digest for item in subnets if item.record.dataset == home.name}
    return tuple(
        item
        for item in subnets
        if item.record.dataset == home.name
        or (
            not item.record.dataset
            and home.digest
            and item.record.dataset_digest == home.digest
            and item.record.bundle_digest not in named
        )
    )


def of_digest(
    subnets: Iterable[RegisteredSubnet], dataset_digest: str
) -> tuple[RegisteredSubnet, ...]:
    """Return the subnets that were measured on the images with a digest, in their order."""
    return tuple(item for item in subnets if item.record.dataset_digest == dataset_digest)
