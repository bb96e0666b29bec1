"""Which subnets to measure first: an initial design that fills the space."""

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace
from ofa_pipeline.cost import estimate_cost

POOL_PER_ARCH = 50
"""Candidates drawn for each architecture of the design."""
MAX_TILT = 3.0
"""How strongly a candidate may prefer large or small choices, in nats between the extremes."""


def initial_design(space: SearchSpace, *, num_archs: int, num_classes: int, seed: int) -> Genes:
    """Choose architectures that spread over sizes and over all genes.

    Uniform sampling crowds the middle: nearly every subnet then costs the same, and the ends,
    where search looks, are never seen. So candidates are drawn with a random preference for
    large or small choices, the range of log MACs is cut into as many strata as architectures are
    wanted, and from each stratum in turn the candidate farthest from those chosen is taken.
    The smallest and the largest subnet are always among them.

    Args:
        space: Where to draw from.
        num_archs: Architectures of the design; fewer if the space has fewer.
        num_classes: For the MACs.
        seed: Seed of the draws.

    Returns:
        Canonical genes without repeats, shape (architectures, genes), ascending by MACs.

    Source:
        Stratification and maximin distance: Johnson et al. 1990, "Minimax and maximin distance
        designs", section 2.
    """
    rng = np.random.default_rng(seed)
    ends = space.genes([space.smallest, space.largest])
    tilted = _tilted_sample(space, rng, POOL_PER_ARCH * num_archs)
    pool = np.unique(np.concatenate([ends, tilted]), axis=0)
    log_macs = np.log(_macs(space, pool, num_classes=num_classes))
    chosen = _spread(space, pool, log_macs, num_archs=num_archs)
    return pool[chosen[np.argsort(log_macs[chosen], kind="stable")]]


def _macs(space: SearchSpace, genes: Genes, *, num_classes: int) -> FloatArray:
    return np.asarray(estimate_cost(space, genes, num_classes=num_classes).macs, dtype=np.float64)


def _tilted_sample(space: SearchSpace, rng: np.random.Generator, count: int) -> Genes:
    """Draw genes; each row prefers larger or smaller choices by a tilt of its own."""
    tilt = rng.uniform(-MAX_TILT, MAX_TILT, (count, 1))
    columns = []
    for choices in space.num_choices:
        steps = np.linspace(-0.5, 0.5, choices) if choices > 1 else np.zeros(1)
        # The largest of Gumbel-noised scores is a draw from their softmax.
        scores = tilt * steps + rng.gumbel(size=(count, choices))
        columns.append(scores.argmax(axis=1))
    return space.canonicalize(np.stack(columns, axis=1).astype(np.int8))


def _spread(
    space: SearchSpace, pool: Genes, log_macs: FloatArray, *, num_archs: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Take candidates stratum by stratum, each the farthest from all taken before."""
    features = space.one_hot(pool)
    smallest, largest = int(log_macs.argmin()), int(log_macs.argmax())
    edges = np.linspace(log_macs[smallest], log_macs[largest], num_archs + 1)
    strata = np.clip(np.searchsorted(edges, log_macs, side="right") - 1, 0, num_archs - 1)
    chosen = [smallest, largest]
    distance = np.minimum(*(_distance(features, index) for index in chosen))
    # Strata without candidates leave a rest, which goes to whatever is farthest anywhere.
    wanted = [*np.unique(strata[~np.isin(strata, strata[chosen])]), *[None] * num_archs]
    for stratum in wanted:
        if len(chosen) == num_archs or distance.max() == 0:
            break
        inside = np.ones(len(pool), dtype=bool) if stratum is None else strata == stratum
        index = int(np.where(inside, distance, -1.0).argmax())
        chosen.append(index)
        distance = np.minimum(distance, _distance(features, index))
    return np.array(chosen[:num_archs], dtype=np.int64)


def _distance(features: FloatArray, index: int) -> FloatArray:
    """Return the number of genes in which each candidate differs from one, times two."""
    return np.asarray(np.abs(features - features[index]).sum(axis=1), dtype=np.float64)
