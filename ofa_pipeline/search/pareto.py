"""Pareto fronts of any number of objectives, and their hypervolume.

Points are rows of losses here: every column is to be minimised. A gain enters negated.
"""

import numpy as np

from ofa_pipeline.arch import BoolArray, FloatArray, IntArray

_PLANE = 2  # objectives; sorting does for these
_BLOCK = 512  # points compared at once, so that memory stays bounded


def is_efficient(losses: FloatArray) -> BoolArray:
    """Tell which points no other point beats or equals everywhere and beats somewhere.

    Of equal points the first is efficient.

    Args:
        losses: Shape (points, objectives), to be minimised.
    """
    if losses.shape[1] == _PLANE:
        return _is_efficient_of_two(losses)
    order = np.lexsort(losses.T[::-1])
    efficient = np.zeros(len(losses), dtype=bool)
    front = np.zeros((0, losses.shape[1]))
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK]
        block = losses[rows]
        rows = rows[~_is_covered(block, front)]
        kept = rows[~_is_covered_earlier(losses[rows])]
        efficient[kept] = True
        front = np.concatenate([front, losses[kept]])
    return efficient


def _is_efficient_of_two(losses: FloatArray) -> BoolArray:
    """Sort by the first loss; efficient is what lowers the second."""
    order = np.lexsort((losses[:, 1], losses[:, 0]))
    second = losses[order, 1]
    lowest_before = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]])
    efficient = np.zeros(len(losses), dtype=bool)
    efficient[order[second < lowest_before]] = True
    return efficient


def _is_covered(points: FloatArray, front: FloatArray) -> BoolArray:
    """Tell which points some point of the front equals or beats everywhere."""
    covered = np.zeros(len(points), dtype=bool)
    for start in range(0, len(front), _BLOCK):
        part = front[start : start + _BLOCK]
        covered |= np.any(np.all(part[None] <= points[:, None], axis=2), axis=1)
    return covered


def _is_covered_earlier(points: FloatArray) -> BoolArray:
    """Tell which points an earlier one covers; in lexicographic order later ones never do."""
    covers = np.all(points[None] <= points[:, None], axis=2)
    return np.asarray(np.any(np.tril(covers, k=-1), axis=1))


def crowding_order(losses: FloatArray) -> IntArray:
    """Return rows from the loneliest to the most crowded; the ends of each objective come first.

    Source:
        Crowding distance of Deb et al. 2002 (NSGA-II), section III-B.
    """
    distance = np.zeros(len(losses))
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        spread = float(np.ptp(column)) or 1.0
        gaps = (column[order[2:]] - column[order[:-2]]) / spread
        distance[order[1:-1]] += gaps
        distance[order[[0, -1]]] = np.inf
    return np.argsort(-distance, kind="stable")


def hypervolume(losses: FloatArray, reference: FloatArray) -> float:
    """Return the volume between a front and a reference point, exactly.

    Args:
        losses: Shape (points, objectives), to be minimised.
        reference: Shape (objectives,); points beyond it count for nothing.

    Source:
        Dimension sweep: slices along the last objective, each of one dimension less.
    """
    inside = losses[(losses < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    front = inside[is_efficient(inside)]
    if front.shape[1] == 1:
        return float(reference[0] - front.min())
    if front.shape[1] == _PLANE:
        front = front[np.argsort(front[:, 0])]
        right = np.append(front[1:, 0], reference[0])
        return float(((right - front[:, 0]) * (reference[1] - front[:, 1])).sum())
    front = front[np.argsort(front[:, -1], kind="stable")]
    depths = np.diff(np.append(front[:, -1], reference[-1]))
    return float(
        sum(
            depth * hypervolume(front[: index + 1, :-1], reference[:-1])
            for index, depth in enumerate(depths)
            if depth > 0
        )
    )
