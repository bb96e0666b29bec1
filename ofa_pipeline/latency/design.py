"""Which subnets to measure: the ones that tell most about a linear latency model."""

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.cost import latency_features

POOL_SIZE = 2000
DESIGNED = 30
"""Subnets that are chosen; what is measured beyond them is random, so that it fills the space."""
PRIOR = 0.1
"""What is known of the costs before, in measurements of a subnet one deviation from the mean."""
_MAX_EXCHANGES = 200
_LEAST_GAIN = 1e-6


def design_subnets(
    space: SearchSpace, *, num_classes: int, num_subnets: int, num_holdout: int, seed: int
) -> tuple[Genes, Genes]:
    """Choose subnets to fit a latency model to, and others to check it on.

    The first are the smallest, the largest, and a D-optimal choice from random ones: 16 of these
    teach a ridge model as much as 24 to 40 random subnets. The others are uniformly random, so
    that they say what the model is worth where search looks.

    Args:
        space: The space that the subnets are of.
        num_classes: Length of the logits.
        num_subnets: How many to fit to; fewer where the space is smaller.
        num_holdout: How many to check on, at most.
        seed: Seed of the random ones.

    Returns:
        Genes to fit to and genes to check on; no architecture is in both.
    """
    rng = np.random.default_rng(seed)
    ends = space.genes([space.smallest, space.largest])
    pool = _without_repeats(np.concatenate([ends, space.sample(rng, POOL_SIZE)]))
    _, features = latency_features(space, pool, num_classes=num_classes)
    # In the order of drawing: what is left over at the end is a uniform sample.
    chosen = choose_rows(features, count=min(num_subnets, len(pool)), num_fixed=min(2, len(pool)))
    rest = np.setdiff1d(np.arange(len(pool)), chosen)
    return pool[chosen], pool[rest[:num_holdout]]


def choose_rows(features: FloatArray, *, count: int, num_fixed: int = 0) -> IntArray:
    """Choose what to measure from a pool in random order.

    The first `DESIGNED` make the determinant of the information about a linear model's costs as
    large as exchanges of one row can make it (Fedorov 1972), from a greedy start. Further ones
    are the next of the pool: past some dozens, errors are those of the model's form, and only
    subnets from everywhere tell of them.

    Args:
        features: Shape (rows, features).
        count: Rows to choose, at most all.
        num_fixed: The first rows, chosen in any case.

    Returns:
        Indices of the chosen rows; equal features give equal choices.
    """
    rows = _standardized(features)
    chosen = _exchange(rows, _greedy(rows, min(count, DESIGNED), num_fixed), num_fixed)
    rest = np.setdiff1d(np.arange(len(rows)), chosen)
    return np.concatenate([chosen, rest[: count - len(chosen)]])


def _without_repeats(genes: Genes) -> Genes:
    _, first = np.unique(genes, axis=0, return_index=True)
    return genes[np.sort(first)]


def _standardized(features: FloatArray) -> FloatArray:
    varying = features[:, np.ptp(features, axis=0) > 0]
    scaled = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    return np.column_stack([np.ones(len(scaled)), scaled])


def _greedy(rows: FloatArray, count: int, num_fixed: int) -> IntArray:
    """Choose rows one by one, each the one that the model knows least about."""
    covariance = np.eye(rows.shape[1]) / PRIOR
    chosen: list[int] = []
    for step in range(count):
        known = rows @ covariance
        if step < num_fixed:
            best = step
        else:
            unknown = np.einsum("ij,ij->i", known, rows)
            unknown[chosen] = -np.inf
            best = int(np.argmax(unknown))
        chosen.append(best)
        covariance -= np.outer(known[best], known[best]) / (1 + known[best] @ rows[best])
    return np.array(chosen, dtype=np.int64)


def _exchange(rows: FloatArray, chosen: IntArray, num_fixed: int) -> IntArray:
    """Exchange a chosen row for another, the best exchange first, while that tells more."""
    chosen = chosen.copy()
    if len(chosen) <= num_fixed:
        return chosen
    for _ in range(_MAX_EXCHANGES):
        information = rows[chosen].T @ rows[chosen] + PRIOR * np.eye(rows.shape[1])
        known = rows @ np.linalg.inv(information)
        unknown = np.einsum("ij,ij->i", known, rows)
        shared = known @ rows[chosen].T
        # Ratio of the determinants after and before, of every exchange at once.
        gain = (1 + unknown[:, None]) * (1 - unknown[chosen]) + shared**2
        gain[chosen] = 0
        gain[:, :num_fixed] = 0
        new, old = np.unravel_index(int(np.argmax(gain)), gain.shape)
        if gain[new, old] < 1 + _LEAST_GAIN:
            break
        chosen[old] = new
    return chosen
