"""Architectures as parameters of an Optuna trial: one categorical parameter a gene."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.errors import ArchError


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return one categorical parameter a gene, by names that people can read."""
    return {
        name: CategoricalDistribution(choices)
        for name, choices in zip(_names(space), space.choices, strict=True)
    }


def params_of(space: SearchSpace, arch: Arch) -> dict[str, Any]:
    """Return an architecture as parameters of a trial; skipped blocks have their first choice."""
    (row,) = space.genes([arch])
    return {
        name: choices[gene]
        for name, choices, gene in zip(_names(space), space.choices, row.tolist(), strict=True)
    }


def arch_of(space: SearchSpace, params: Mapping[str, Any]) -> Arch:
    """Return the architecture of a trial's parameters; those of skipped blocks are ignored.

    Raises:
        ArchError: If a parameter is missing or is not one of its choices.
    """
    row = []
    for name, choices in zip(_names(space), space.choices, strict=True):
        if params.get(name) not in choices:
            raise ArchError(
                f"parameter {name} of {space.space_id} must be one of {choices}, got "
                f"{params.get(name)!r}"
            )
        row.append(choices.index(params[name]))
    return space.archs(space.canonicalize(np.array([row], dtype=np.int8)))[0]


def _names(space: SearchSpace) -> list[str]:
    counts = {name: part.stop - part.start for name, part in space.columns.items()}
    return [f"{name}_{index}" for name, count in counts.items() for index in range(count)]
