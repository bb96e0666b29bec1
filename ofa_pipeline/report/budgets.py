"""Which dearer budgets buy nothing over a cheaper one, as far as the test images can tell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.report.contents import CONFIDENCE, NeedlessBudget, SubnetFacts
from ofa_pipeline.report.source import Source
from ofa_pipeline.tables import PREDICTIONS_SCHEMA, read_table

_Hits = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What one subnet gets right more than another, on the same images."""

    points: float
    """Difference of top-1, fraction."""
    noise: float
    """Half the 95 % interval of the difference."""

    @classmethod
    def of(cls, better: NDArray[np.bool_], than: NDArray[np.bool_]) -> "Gain":
        """Compare the right answers of two subnets, image by image.

        Only images that one of them gets right and the other wrong say anything, so the
        difference is known far better than either accuracy.

        Source:
            McNemar 1947; the normal interval of a difference of paired proportions.
        """
        count = len(better)
        gained = int((better & ~than).sum())
        lost = int((than & ~better).sum())
        spread = math.sqrt(gained + lost - (gained - lost) ** 2 / count) / count
        z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
        return cls(points=(gained - lost) / count, noise=z * spread)


def load_needless_budgets(
    source: Source, subnets: Sequence[SubnetFacts]
) -> tuple[NeedlessBudget, ...]:
    """Find the budgets of a device whose subnet is not measurably better than a cheaper one's.

    Args:
        source: The artifact of the stage specialize.
        subnets: What ships to the device.
    """
    rows = read_table(source.path(Layout.PREDICTIONS), PREDICTIONS_SCHEMA)
    arch_ids = np.array(rows["arch_id"].to_pylist())
    right = rows["label"].to_numpy() == rows["predicted"].to_numpy()
    hits = {subnet.arch.arch_id: right[arch_ids == subnet.arch.arch_id] for subnet in subnets}
    return needless_budgets(subnets, hits)


def needless_budgets(subnets: Sequence[SubnetFacts], hits: _Hits) -> tuple[NeedlessBudget, ...]:
    """Compare the subnet of each budget with those of cheaper budgets, the cheapest first.

    Args:
        subnets: What ships to one device.
        hits: Whether each test image is classified right, by architecture.
    """
    by_budget = sorted(
        ((budget, subnet) for subnet in subnets for budget in subnet.budgets_ms),
        key=lambda pair: pair[0],
    )
    found = []
    for index, (budget_ms, dear) in enumerate(by_budget):
        for cheaper_ms, cheap in by_budget[:index]:
            gain = Gain.of(hits[dear.arch.arch_id], hits[cheap.arch.arch_id])
            if gain.points <= gain.noise:
                found.append(
                    NeedlessBudget(
                        budget_ms=budget_ms,
                        cheaper_ms=cheaper_ms,
                        accuracy_top1=dear.accuracy_top1,
                        cheaper_accuracy_top1=cheap.accuracy_top1,
                        noise=gain.noise,
                        is_same_subnet=dear.arch == cheap.arch,
                    )
                )
                break
    return tuple(found)
