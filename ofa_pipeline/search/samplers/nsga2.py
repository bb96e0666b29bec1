"""NSGA-II: crossover and mutation of the best of the known subnets."""

import optuna

from ofa_pipeline.search.sampling import Sampler
from ofa_pipeline.search.study_sampler import StudySampler

_POPULATION = 8  # small, so that the known subnets make many generations, each better


def build() -> Sampler:
    """Return the sampler."""
    return StudySampler(
        lambda seed: optuna.samplers.NSGAIISampler(population_size=_POPULATION, seed=seed)
    )
