"""What a sampler is asked and answers: subnets that are worth verifying for one budget."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ofa_pipeline.arch import Arch, BoolArray, FloatArray, Genes
from ofa_pipeline.search.acquisition import Role
from ofa_pipeline.search.front import Estimates
from ofa_pipeline.search.population import Scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Subnets whose accuracy was measured."""

    genes: Genes
    """Shape (subnets, genes)."""
    accuracy: FloatArray
    """Top-1 on selection images, fractions, shape (subnets,)."""
    latency_ms: FloatArray
    """Measured where a subnet was verified, elsewhere estimated, shape (subnets,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A subnet to verify, and what is believed of it before."""

    arch: Arch
    mean: float
    """Estimated accuracy, a fraction."""
    std: float
    """Its standard deviation."""
    latency_ms: float
    """Estimated."""
    role: Role


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a sampler knows when it is asked for subnets for one budget."""

    limit_ms: float
    """What the estimated latency may be: the budget with its margin."""
    count: int
    """Subnets wanted, at most."""
    taken: AbstractSet[str]
    """Identifiers of architectures that are verified, or will be, anyway."""
    estimates: Estimates
    """The predictor and the latency model, after what was learned so far."""
    candidates: Scored
    """What the search by these estimates found within the limit, best first; at least one."""
    known: Known
    fastest: Arch
    """The fastest subnet of the space by estimate."""
    seed: int
    """Differs from request to request and from round to round."""

    @cached_property
    def archs(self) -> list[Arch]:
        """The candidates as architectures."""
        return self.estimates.space.archs(self.candidates.genes)

    @cached_property
    def accuracy(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the candidates' accuracy."""
        return self.estimates.accuracy(self.candidates.genes)

    @property
    def is_taken(self) -> BoolArray:
        """Which candidates are not to be proposed (again)."""
        return np.array([arch.arch_id in self.taken for arch in self.archs])

    def candidate(self, row: int, *, role: Role) -> Proposal:
        """Propose a candidate."""
        mean, std = self.accuracy
        return Proposal(
            arch=self.archs[row],
            mean=float(mean[row]),
            std=float(std[row]),
            latency_ms=float(self.candidates.costs[row, 0]),
            role=role,
        )

    def believed(self, archs: Sequence[Arch], *, role: Role) -> list[Proposal]:
        """Propose architectures, candidates or not."""
        genes = self.estimates.space.genes(archs)
        mean, std = self.estimates.accuracy(genes)
        latency_ms = self.estimates.latency(genes)
        return [
            Proposal(arch=arch, mean=float(m), std=float(s), latency_ms=float(ms), role=role)
            for arch, m, s, ms in zip(archs, mean, std, latency_ms, strict=True)
        ]


class Sampler(Protocol):
    """Proposes subnets to verify; the same request always gets the same answer."""

    def propose(self, request: Request) -> list[Proposal]:
        """Return at most ``request.count`` different subnets, none of which is taken."""
        ...
