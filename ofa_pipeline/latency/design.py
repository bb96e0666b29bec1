"""Which subnets to measure: the ones that tell most about a linear latency model."""

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace
from ofa_pipeline.cost import latency_features

POOL_SIZE = 2000
_REGULARIZATION = 1e-3


def design_subnets(
    space: SearchSpace, *, num_classes: int, num_subnets: int, num_holdout: int, seed: int
) -> tuple[Genes, Genes]:
    """Choose subnets to fit a latency model to, and others to check it on.

    The first are the smallest, the largest, and a greedy D-optimal choice from random ones:
    16 of these teach a ridge model as much as 24 to 40 random subnets. The others are uniformly
    random, so that they say what the model is worth where search looks.

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
    chosen = _greedy_d_optimal(features, count=min(num_subnets, len(pool)), start=min(2, len(pool)))
    rest = np.setdiff1d(np.arange(len(pool)), chosen)
    return pool[chosen], pool[rest[:num_holdout]]


def _without_repeats(genes: Genes) -> Genes:
    _, first = np.unique(genes, axis=0, return_index=True)
    return genes[np.sort(first)]


def _greedy_d_optimal(features: FloatArray, *, count: int, start: int) -> FloatArray:
    """Choose rows one by one, each the one that the model knows least about.

    Args:
        features: Shape (rows, features).
        count: Rows to choose.
        start: The first rows, chosen in any case.

    Returns:
        Indices of the chosen rows, in the order of choice.
    """
    varying = features[:, np.ptp(features, axis=0) > 0]
    scaled = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    rows = np.column_stack([np.ones(len(scaled)), scaled])
    information = _REGULARIZATION * np.eye(rows.shape[1])
    chosen: list[int] = []
    for step in range(count):
        if step < start:
            best = step
        else:
            unknown = np.einsum("ij,ji->i", rows, np.linalg.solve(information, rows.T))
            unknown[chosen] = -np.inf
            best = int(np.argmax(unknown))
        chosen.append(best)
        information += np.outer(rows[best], rows[best])
    return np.array(chosen)
