"""Small changes of architectures: one gene at a time, and promising pairs of such changes."""

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.search.neighborhood import one_gene_changes
from ofa_pipeline.search.objectives import SearchProblem

_HALF = 0.5


def crossed_over(
    space: SearchSpace, first: Genes, second: Genes, rng: np.random.Generator
) -> Genes:
    """Cross pairs of parents, half gene by gene, half block group by block group.

    Blocks of a group are adapted to each other; taking groups whole keeps what works together.

    Args:
        space: The space of the genes.
        first: Parents, shape (architectures, genes).
        second: Their partners, of the same shape.
        rng: Source of the random choices.
    """
    by_gene = space.crossover(first, second, rng)
    group_of_gene = _group_of_gene(space)
    from_first = rng.random((len(first), int(group_of_gene.max()) + 1)) < _HALF
    by_group = np.where(from_first[:, group_of_gene], first, second)
    whole = rng.random(len(first)) < _HALF
    return space.canonicalize(np.where(whole[:, None], by_group, by_gene))


def _group_of_gene(space: SearchSpace) -> IntArray:
    """Return the block group of each gene; resolution and widths are groups of their own."""
    groups = np.arange(len(space.block_groups))
    slots = np.repeat(groups, [group.max_depth for group in space.block_groups])
    others = len(groups) + np.arange(1 + space.num_width_sites)
    return np.concatenate([others, groups, slots, slots])


def promising_pairs(
    problem: SearchProblem, genes: Genes, *, limits: FloatArray, count: int
) -> Genes:
    """Return pairs of one-gene changes that look best together and stay within the limits.

    Near a constraint a single change that helps costs too much, and one that saves hurts; two
    together may do both. Effects are added up to choose the pairs; they are not exact.

    Args:
        problem: Gain and costs.
        genes: One architecture, shape (1, genes).
        limits: Limits of its costs, shape (costs,).
        count: Pairs to return, at most.
    """
    changes = one_gene_changes(problem.space, genes)
    changes = changes[(changes != genes).any(axis=1)]
    scored = np.concatenate([genes, changes])
    gain, costs = problem.evaluate_gain(scored), problem.evaluate_costs(scored)
    gains, extra = gain[1:] - gain[0], costs[1:] - costs[0]
    first, second = np.triu_indices(len(changes), k=1)
    together = gains[first] + gains[second]
    fits = (costs[0] + extra[first] + extra[second] <= limits).all(axis=1)
    order = np.flatnonzero(fits)
    order = order[np.argsort(-together[order], kind="stable")[:count]]
    one, other = changes[first[order]], changes[second[order]]
    return problem.space.canonicalize(np.where(one != genes, one, other))
