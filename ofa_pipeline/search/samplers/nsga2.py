"""NSGA-II: crossover and mutation of the best subnets; half of the known ones are its parents."""

import optuna

from ofa_pipeline.search.sampling import Sampler
from ofa_pipeline.search.study_sampler import StudySampler

_POPULATION = 24  # small, so that a hundred known subnets make several generations


def build() -> Sampler:
    """Return the sampler."""
    return StudySampler(
        lambda seed: optuna.samplers.NSGAIISampler(population_size=_POPULATION, seed=seed)
    )
