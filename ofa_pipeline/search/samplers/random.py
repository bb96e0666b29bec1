"""Uniform draws: what every other sampler has to beat."""

import optuna

from ofa_pipeline.search.sampling import Sampler
from ofa_pipeline.search.study_sampler import StudySampler


def build() -> Sampler:
    """Return the sampler."""
    return StudySampler(lambda seed: optuna.samplers.RandomSampler(seed=seed))
