"""Which architectures are worth a real evaluation: the likely best and the possible best."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ofa_pipeline.arch import BoolArray, FloatArray, IntArray

Role = Literal["exploit", "explore", "sample"]

OPTIMISM = 2.0
"""Standard deviations that exploration adds to the mean."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A row that is worth evaluating, and why."""

    row: int
    role: Role


def choose_rows(
    mean: FloatArray, std: FloatArray, *, is_taken: BoolArray, count: int
) -> list[Chosen]:
    """Choose half by the mean and half by the mean plus some standard deviations.

    Args:
        mean: Predicted gain, shape (architectures,).
        std: Its standard deviation.
        is_taken: Not to be chosen (again).
        count: At most; the odd one goes to the mean.
    """
    chosen: list[Chosen] = []
    free = ~is_taken
    num_exploit = -(-count // 2)
    halves: list[tuple[Role, FloatArray, int]] = [
        ("exploit", mean, num_exploit),
        ("explore", mean + OPTIMISM * std, count - num_exploit),
    ]
    for role, score, share in halves:
        rows = np.flatnonzero(free)
        rows = rows[np.argsort(-score[rows], kind="stable")[:share]]
        free[rows] = False
        chosen += [Chosen(int(row), role) for row in rows]
    return chosen


def propose(
    mean: FloatArray,
    std: FloatArray,
    *,
    within: BoolArray,
    is_taken: BoolArray,
    count: int,
) -> IntArray:
    """Choose rows of a pool for several budgets in turn, one or two for each until all are used.

    Args:
        mean: Predicted gain, shape (architectures,).
        std: Its standard deviation.
        within: Which architecture meets which budget, shape (architectures, budgets).
        is_taken: Not to be chosen (again).
        count: How many for all budgets together, at most.
    """
    taken = is_taken.copy()
    rows: list[int] = []
    by_turns: tuple[Role, ...] = ("exploit", "explore")
    while len(rows) < count and not taken[within.any(axis=1)].all():
        for role in by_turns:
            score = mean if role == "exploit" else mean + OPTIMISM * std
            for budget in range(within.shape[1]):
                free = np.flatnonzero(within[:, budget] & ~taken)
                if len(free) and len(rows) < count:
                    row = int(free[score[free].argmax()])
                    taken[row] = True
                    rows.append(row)
    return np.array(rows, dtype=np.int64)
