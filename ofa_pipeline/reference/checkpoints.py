"""The reference's weight files: read strictly, written in its spelling.

Its own loaders ignore missing entries and guess names; here every entry must be accounted for.
Files are read with ``weights_only``: a pickle that holds code is refused.
"""

import logging
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.errors import CheckpointError
from ofa_pipeline.reference.names import (
    NUM_BATCHES,
    Spelling,
    own_spelling,
    reference_names,
    reference_shape,
    to_reference,
)
from ofa_pipeline.spaces import REFERENCE_SPACES, reference_space
from ofa_pipeline.supernet import Subnet, Supernet, build_supernet, empty_supernet

_log = logging.getLogger(__name__)
_LISTED = 5
_HEAD = ("classifier.weight", "classifier.bias")
_DAMAGES = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    AssertionError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What torch raises about a file that is damaged or of another kind: its reader of pickles executes
any bytes as instructions, so almost any error may come out."""
StateDict = Mapping[str, Tensor]


def read_state(path: Path) -> StateDict:
    """Read the weights of a file: bare, or under ``state_dict`` as training checkpoints have them.

    Args:
        path: Written by the reference or by `write_reference_checkpoint`.

    Raises:
        CheckpointError: If the file is missing, truncated or not a weight file (a web page, say),
            or holds code or anything else than named tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} must be a weight file, but is missing")
    with path.open("rb") as file:
        start = file.read(256).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(
            f"{path} is a web page, not a weight file: the download of it failed. Get it again."
        )
    try:
        with warnings.catch_warnings():
            # About pickles of other protocols, which are then refused or read like any other.
            warnings.simplefilter("ignore", UserWarning)
            with torch.serialization.safe_globals(_numpy_numbers()):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} cannot be read as weights alone: it is damaged, or holds code, which is never "
            f"run ({_reason(error)})"
        ) from error
    except _DAMAGES as error:
        raise CheckpointError(
            f"{path} is damaged or no weight file ({_reason(error)}). Get or copy it again."
        ) from error
    return _named_tensors(content, path)


def _numpy_numbers() -> list[Any]:
    """Return the functions and types in the pickle of a numpy number.

    Training checkpoints hold their best accuracy as one; numpy 1 names the function otherwise.
    """
    build_number = np.float64().__reduce__()[0]
    return [
        build_number,
        (build_number, "numpy.core.multiarray.scalar"),
        np.dtype,
        np.dtypes.Float64DType,
    ]


def _reason(error: Exception) -> str:
    """Return the first sentence of torch's message."""
    return str(error).split("\n", 1)[0].split(". ", 1)[0] or type(error).__name__


def _named_tensors(content: Any, path: Path) -> StateDict:  # noqa: ANN401 - whatever the file holds
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} must hold named tensors, got {type(content).__name__}")
    others = sorted(str(name) for name, value in content.items() if not isinstance(value, Tensor))
    if others:
        raise CheckpointError(
            f"{path} must hold named tensors and nothing else, or have them under "
            f"'state_dict'; found also {', '.join(others[:_LISTED])}"
        )
    return {str(name): value for name, value in content.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Where the entries of a file differ from those of a network, by the reference's names."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """Whether every entry is accounted for."""
        return not (self.missing or self.unexpected or self.misshapen)

    def __str__(self) -> str:
        """List what does not fit, the first few of each kind."""
        parts = [
            f"{len(names)} {what} ({', '.join(names[:_LISTED])}{', ...' * (len(names) > _LISTED)})"
            for what, names in (
                ("missing", self.missing),
                ("unexpected", self.unexpected),
                ("of another shape", self.misshapen),
            )
            if names
        ]
        return "; ".join(parts)


@torch.no_grad()
def load_reference_state(
    network: Supernet | Subnet, state: StateDict, *, origin: str, replace_head: bool = False
) -> None:
    """Load weights by the reference's names into a network, in place.

    Either spelling is read, and the older one (``mobile_inverted_conv``). The weights of the
    largest static network fill a supernet, whose kernel transforms then become the identity,
    because such a file has none. Half-precision weights are widened, which is exact.

    Args:
        network: Keeps its number type and device.
        state: Named tensors; ``num_batches_tracked`` is not used.
        origin: Where they come from, for the error message.
        replace_head: Where the numbers of classes differ, keep the network's classifier as it is
            and log that, instead of raising.

    Raises:
        CheckpointError: If an entry is missing, unexpected, of another shape or not finite.
    """
    given = {modern_name(name): tensor for name, tensor in state.items()}
    given = {name: tensor for name, tensor in given.items() if not name.endswith(NUM_BATCHES)}
    names = _spelling_of(network, given)
    own = dict(network.state_dict())
    identities = [name for name in names if ".transforms." in name]
    if isinstance(network, Supernet) and not any(names[name] in given for name in identities):
        names = {name: key for name, key in names.items() if name not in identities}
    else:
        identities = []
    if replace_head and _drop_other_head(names, own, given, origin):
        names = {name: key for name, key in names.items() if name not in _HEAD}
    fit = _fit(names, own, given)
    if not fit.is_exact:
        raise CheckpointError(
            f"{origin} does not fit {network.space.space_id} with {network.num_classes} classes: "
            f"{fit}.{_hint(network.space, network.num_classes, given)}"
        )
    _check_finite(given, origin)
    for name, key in names.items():
        own[name].copy_(given[key].reshape(own[name].shape))
    for name in identities:
        own[name].copy_(torch.eye(own[name].shape[0]))


def modern_name(name: str) -> str:
    """Return an entry's name without a wrapper in front, the older spelling replaced."""
    return name.removeprefix("module.").replace(".mobile_inverted_conv.", ".conv.")


def _spelling_of(network: Supernet | Subnet, given: StateDict) -> dict[str, str]:
    """Return the names in the spelling that more of the file's entries have."""
    own = own_spelling(network)
    others: tuple[Spelling, ...] = ("static",) if own == "static" else ("supernet", "static")
    candidates = [reference_names(network, spelling) for spelling in others]
    return max(candidates, key=lambda names: len(given.keys() & set(names.values())))


def _fit(names: Mapping[str, str], own: StateDict, given: StateDict) -> Fit:
    wanted = {key: reference_shape(name, own[name]) for name, key in names.items()}
    return Fit(
        missing=tuple(key for key in wanted if key not in given),
        unexpected=tuple(key for key in given if key not in wanted),
        misshapen=tuple(
            f"{key} {tuple(given[key].shape)} for {shape}"
            for key, shape in wanted.items()
            if key in given and tuple(given[key].shape) != shape
        ),
    )


def _drop_other_head(
    names: Mapping[str, str], own: StateDict, given: dict[str, Tensor], origin: str
) -> bool:
    """Remove the file's classifier where it has another number of classes, and say so."""
    keys = [names[name] for name in _HEAD]
    if not all(key in given for key in keys):
        return False
    found, wanted = given[keys[1]].shape[0], own[_HEAD[1]].shape[0]
    if found == wanted:
        return False
    for key in keys:
        del given[key]
    _log.warning(
        "%s has %d classes, the network %d: its classifier keeps its random weights",
        origin,
        found,
        wanted,
    )
    return True


def _check_finite(given: StateDict, origin: str) -> None:
    bad = [name for name, tensor in given.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise CheckpointError(
            f"{origin} must hold finite numbers, but {', '.join(bad[:_LISTED])} do not"
        )


def suggest_checkpoint(space: SearchSpace, state: Mapping[str, Any]) -> str:
    """Say which of the reference's supernets a state that did not fit belongs to.

    Args:
        space: The space of the network that it did not fit.
        state: Named tensors; other entries are ignored.

    Returns:
        A sentence with a space in front; an empty text where the state fits none of them.
    """
    tensors = {modern_name(str(n)): t for n, t in state.items() if isinstance(t, Tensor)}
    given = {name: t for name, t in tensors.items() if not name.endswith(NUM_BATCHES)}
    return _hint(space, None, given)


def _hint(space: SearchSpace, num_classes: int | None, given: StateDict) -> str:
    """Say which of the reference's supernets the entries would fit, if one does."""
    heads = [t for name, t in given.items() if name.endswith("linear.bias") and t.ndim == 1]
    if not heads:
        return ""
    classes = heads[0].shape[0]
    for space_id in REFERENCE_SPACES:
        other = empty_supernet(reference_space(space_id), num_classes=classes, dropout=0.0)
        names, own = _spelling_of(other, given), other.state_dict()
        without = {n: k for n, k in names.items() if ".transforms." not in n}
        if _fit(names, own, given).is_exact or _fit(without, own, given).is_exact:
            if space_id == space.space_id and classes != num_classes:
                return f" It has {classes} classes: build the network with as many."
            return f" It is a checkpoint of {space_id} with {classes} classes."
    return ""


def read_reference_checkpoint(
    network: Supernet | Subnet, path: Path, *, replace_head: bool = False
) -> None:
    """Load a weight file of the reference into a network, in place.

    Args:
        network: A supernet, or the subnet that the file holds.
        path: Supernet file, training checkpoint, static network or ``init`` file.
        replace_head: See `load_reference_state`.

    Raises:
        CheckpointError: If the file cannot be read, or does not fit exactly.
    """
    load_reference_state(network, read_state(path), origin=str(path), replace_head=replace_head)


def import_reference_supernet(path: Path, space: SearchSpace) -> Supernet:
    """Build a supernet from a weight file of the reference, with as many classes as it has.

    Raises:
        CheckpointError: If the file cannot be read, or does not fit exactly.
    """
    state = read_state(path)
    classes = [t.shape[0] for name, t in state.items() if name.endswith("linear.bias")]
    if not classes:
        raise CheckpointError(f"{path} has no classifier: is it a checkpoint of {space.space_id}?")
    network = build_supernet(space, num_classes=classes[0])
    load_reference_state(network, state, origin=str(path))
    return network.eval()


def write_reference_checkpoint(network: Supernet | Subnet, path: Path) -> None:
    """Write a network as the reference writes it: named tensors under ``state_dict``."""
    temporary = path.with_name(f".{path.name}.writing")
    try:
        torch.save({"state_dict": to_reference(network)}, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
