"""A Gaussian process: constrained expected improvement; about a second a subnet."""

import importlib

import optuna

from ofa_pipeline.search.sampling import Sampler
from ofa_pipeline.search.study_sampler import StudySampler


def build() -> Sampler:
    """Return the sampler."""
    importlib.import_module("torch")  # first, so that it is there when its threads are limited
    return StudySampler(lambda seed: optuna.samplers.GPSampler(seed=seed))
