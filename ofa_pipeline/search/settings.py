"""How to search and how much to verify, from the section of params.yaml."""

from typing import TYPE_CHECKING

from ofa_pipeline.search.evolution import EvolutionSettings
from ofa_pipeline.search.samplers import build_sampler
from ofa_pipeline.search.verify import VerifySettings

if TYPE_CHECKING:
    from ofa_pipeline.params import SearchParams

_ISLANDS = 2  # each of a quarter of the generations and half the population


def verify_settings(search: "SearchParams", *, accuracy_noise: float) -> VerifySettings:
    """Return how much to verify.

    Args:
        search: The section of params.yaml.
        accuracy_noise: Standard deviation of a measured accuracy, a fraction.
    """
    return VerifySettings(
        top_k=search.verify_top_k,
        max_rounds=search.max_rounds,
        latency_margin=search.latency_margin,
        accuracy_noise=accuracy_noise,
        sampler=build_sampler(search.sampler),
    )


def evolution_settings(search: "SearchParams") -> EvolutionSettings:
    """Return how long and how broadly to search."""
    return EvolutionSettings(
        population=search.population,
        generations=search.generations,
        islands=_ISLANDS,
        island_generations=max(1, search.generations // 4),
        island_population=search.population // 2,
        seed=search.seed,
    )
