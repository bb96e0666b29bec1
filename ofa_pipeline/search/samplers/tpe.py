"""The tree-structured Parzen estimator: densities of the better and of the other subnets."""

import optuna

from ofa_pipeline.search.sampling import Sampler
from ofa_pipeline.search.study_sampler import StudySampler


def build() -> Sampler:
    """Return the sampler."""
    return StudySampler(lambda seed: optuna.samplers.TPESampler(seed=seed))
