"""State dictionaries in any of the reference's spellings, for torch's own way of loading."""

import itertools
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import nn

from ofa_pipeline.errors import StateDictError
from ofa_pipeline.reference.checkpoints import modern_name
from ofa_pipeline.reference.hub.elastic import ElasticDepthwiseConv, Holder

_LINES, _CHARACTERS = 12, 300


def adopt_names(network: nn.Module, state: MutableMapping[str, Any], prefix: str) -> None:
    """Rename entries that are spelled otherwise to the network's own names, in place.

    Read are the names of static networks, whose weights fill the largest subnet of a supernet,
    ``mobile_inverted_conv`` for ``conv``, and ``module.`` in front. Whatever else is there stays
    as it is, for torch to report. A file without any kernel matrix is of a network with one
    kernel size: the matrices then become the identity.

    Args:
        network: A hub network.
        state: Entries of the network, and of whatever it is a part of.
        prefix: The network's place in that, with a dot at its end.
    """
    own = set(_entries(network))
    static = dict(_static_names(network))
    for key in [key for key in state if key.startswith(prefix)]:
        given = key.removeprefix(prefix)
        name = modern_name(given)
        name = static.get(name, name)
        if given not in own and name in own and prefix + name not in state:
            state[prefix + name] = state.pop(key)
    _add_identities(network, state, prefix)


def _entries(module: nn.Module) -> list[str]:
    """Return the names of all parameters and buffers, those that share one with others too."""
    parameters = module.named_parameters(remove_duplicate=False)
    buffers = module.named_buffers(remove_duplicate=False)
    return [name for name, _ in itertools.chain(parameters, buffers)]


def _static_names(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Pair the name of an entry in a static network with its name here."""
    for place, holder in network.named_modules():
        if not isinstance(holder, Holder):
            continue
        for name in _entries(getattr(holder, holder.held)):
            yield f"{place}.{name}", f"{place}.{holder.held}.{name}"


def _add_identities(network: nn.Module, state: MutableMapping[str, Any], prefix: str) -> None:
    kernels: dict[str, ElasticDepthwiseConv] = {
        f"{prefix}{place}.": layer
        for place, layer in network.named_modules()
        if isinstance(layer, ElasticDepthwiseConv)
    }
    matrices = {
        place + name: f"{place}conv.weight"
        for place, layer in kernels.items()
        for name in layer.matrix_names
    }
    if any(key in state for key in matrices) or not all(k in state for k in matrices.values()):
        return
    for key, kernel in matrices.items():
        size = int(key.rpartition("to")[2].removesuffix("_matrix"))
        like = state[kernel]
        state[key] = torch.eye(size**2, dtype=like.dtype, device=like.device)


def unwrapped(state: Any) -> Any:  # noqa: ANN401 - torch says what is no dictionary
    """Return the weights of a training checkpoint, which has them under ``state_dict``."""
    inner = state.get("state_dict") if isinstance(state, Mapping) else None
    return inner if isinstance(inner, Mapping) else state


def state_dict_error(error: RuntimeError, hint: str) -> StateDictError:
    """Return torch's error, short enough to be read, as one of ours."""
    lines = [
        line if len(line) <= _CHARACTERS else f"{line[:_CHARACTERS].rstrip()} ..."
        for line in str(error).splitlines()
    ]
    more = len(lines) - _LINES
    if more > 0:
        lines = [*lines[:_LINES], f"\t... and {more} lines like these"]
    return StateDictError("\n".join(lines) + hint)
