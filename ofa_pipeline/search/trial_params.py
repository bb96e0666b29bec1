"""Architectures as parameters of an Optuna trial: one categorical parameter a gene."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.errors import ArchError


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return one categorical parameter a gene that is free, by names that people can read."""
    return {name: CategoricalDistribution(choices) for _, name, choices in _free_genes(space)}


def params_of(space: SearchSpace, arch: Arch) -> dict[str, Any]:
    """Return an architecture as parameters of a trial; skipped blocks have their first choice."""
    (row,) = space.genes([arch])
    return {name: choices[int(row[gene])] for gene, name, choices in _free_genes(space)}


def arch_of(space: SearchSpace, params: Mapping[str, Any]) -> Arch:
    """Return the architecture of a trial's parameters; those of skipped blocks are ignored.

    Raises:
        ArchError: If a parameter is missing or is not one of its choices.
    """
    row = np.zeros((1, space.num_genes), dtype=np.int8)
    for gene, name, choices in _free_genes(space):
        if params.get(name) not in choices:
            raise ArchError(
                f"parameter {name} of {space.space_id} must be one of {choices}, got "
                f"{params.get(name)!r}"
            )
        row[0, gene] = choices.index(params[name])
    return space.archs(space.canonicalize(row))[0]


def _free_genes(space: SearchSpace) -> Iterator[tuple[int, str, tuple[float, ...]]]:
    """Yield place, name and choices of each gene; expand ratios that follow depths are not free."""
    for name, part in space.columns.items():
        if name == "expand_ratio" and space.is_coupled:
            continue
        for index, gene in enumerate(range(part.start, part.stop)):
            yield gene, f"{name}_{index}", space.choices[gene]
