"""What a verified search looks like in files: the front, the evaluations, the picks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.documents import (
    LatencyMeasurement,
    PickedSubnet,
    Picks,
    RunnerUp,
    VerificationReport,
)
from ofa_pipeline.predictor import AccuracyPredictor
from ofa_pipeline.search.pareto import is_efficient
from ofa_pipeline.search.population import Scored
from ofa_pipeline.search.verify import Pick, VerifiedSearch, VerifiedSubnet
from ofa_pipeline.tables import arch_columns


@dataclass(frozen=True, slots=True)
class Describer:
    """Describes architectures of a space in table columns."""

    space: SearchSpace
    num_classes: int

    def arch_columns(self, archs: Sequence[Arch]) -> dict[str, Any]:
        """Return the columns that every table of architectures begins with."""
        cost = estimate_cost(self.space, self.space.genes(archs), num_classes=self.num_classes)
        return arch_columns(archs, macs=cost.macs, num_params=cost.num_params)

    def front_columns(self, front: Scored, predictor: AccuracyPredictor) -> dict[str, Any]:
        """Return `FRONT_SCHEMA`'s columns: the front as the refitted predictor sees it."""
        mean, std = predictor.predict(front.genes)
        efficient = is_efficient(np.column_stack([-mean, front.costs[:, 0]]))
        kept = front.take(efficient)
        return {
            **self.arch_columns(self.space.archs(kept.genes)),
            "accuracy_top1_estimated": mean[efficient],
            "accuracy_std_estimated": std[efficient],
            "latency_ms_estimated": kept.costs[:, 0],
        }

    def evaluation_columns(self, verified: Sequence[VerifiedSubnet]) -> dict[str, Any]:
        """Return `EVALUATIONS_SCHEMA`'s columns."""
        latencies = [_measurement(subnet) for subnet in verified]
        return {
            **self.arch_columns([subnet.arch for subnet in verified]),
            "accuracy_top1_selection": [subnet.accuracy_top1 for subnet in verified],
            "accuracy_top1_estimated": [s.accuracy_top1_estimated for s in verified],
            "accuracy_std_estimated": [s.accuracy_std_estimated for s in verified],
            "p50_ms": [latency.p50_ms for latency in latencies],
            "p95_ms": [latency.p95_ms for latency in latencies],
            "ci_low_ms": [latency.ci_low_ms for latency in latencies],
            "ci_high_ms": [latency.ci_high_ms for latency in latencies],
            "num_runs": [latency.num_runs for latency in latencies],
            "latency_ms_estimated": [subnet.latency_ms_estimated for subnet in verified],
            "round": [subnet.round for subnet in verified],
            "role": [subnet.role for subnet in verified],
        }


def picks_document(result: VerifiedSearch, *, accuracy_noise: float) -> Picks:
    """Return what a search found, for its artifact.

    Args:
        result: Result of predict, verify, refit.
        accuracy_noise: Standard deviation of a measured accuracy, a fraction.
    """
    return Picks(
        picks=tuple(_pick(pick) for pick in result.picks),
        accuracy_noise_points=100 * accuracy_noise,
        num_verified=len(result.verified),
        num_rounds=result.num_rounds,
        is_stable=result.is_stable,
        latency_correction=result.latency_correction,
        hypervolume_estimated=result.last_search.hypervolume,
        verification=verification_report(result.verified),
    )


def verification_report(verified: Sequence[VerifiedSubnet]) -> VerificationReport:
    """Return how the estimates of the verified subnets compare with their measurements."""
    estimated = np.array([subnet.accuracy_top1_estimated for subnet in verified])
    measured = np.array([subnet.accuracy_top1 for subnet in verified])
    latency = np.array([subnet.latency.p50_ms for subnet in verified])
    latency_estimated = np.array([subnet.latency_ms_estimated for subnet in verified])
    return VerificationReport(
        accuracy_rmse_points=100 * float(np.sqrt(((estimated - measured) ** 2).mean())),
        accuracy_optimism_points=100 * float((estimated - measured).mean()),
        latency_mape_percent=100 * float(np.abs(latency_estimated / latency - 1).mean()),
    )


def _pick(pick: Pick) -> PickedSubnet:
    return PickedSubnet(
        budget_ms=pick.budget_ms,
        **_candidate(pick.subnet),
        price_points_per_ms=100 * pick.price,
        num_tied=pick.num_tied,
        runners_up=tuple(
            RunnerUp(**_candidate(subnet), is_tied=place < pick.num_tied)
            for place, subnet in enumerate(pick.runners_up)
        ),
    )


def _candidate(subnet: VerifiedSubnet) -> dict[str, Any]:
    """Return the fields of `Candidate`."""
    return {
        "arch_id": subnet.arch.arch_id,
        "arch": subnet.arch,
        "accuracy_top1_selection": subnet.accuracy_top1,
        "accuracy_top1_estimated": subnet.accuracy_top1_estimated,
        "latency_ms": subnet.latency.p50_ms,
        "latency": _measurement(subnet),
        "latency_ms_estimated": subnet.latency_ms_estimated,
    }


def _measurement(subnet: VerifiedSubnet) -> LatencyMeasurement:
    assert isinstance(subnet.latency, LatencyMeasurement)
    return subnet.latency
