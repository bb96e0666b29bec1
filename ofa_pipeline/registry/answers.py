"""From registered subnets to the documents that programs read."""

from collections.abc import Sequence
from typing import Any

from ofa_pipeline.documents import Quantile
from ofa_pipeline.documents.answers import (
    ComparisonAnswer,
    Difference,
    ExplanationAnswer,
    FrontAnswer,
    RegisteredFigures,
    SubnetAnswer,
    SubnetList,
    SubnetPage,
)
from ofa_pipeline.registry.comparison import Explanation, accuracy_noise
from ofa_pipeline.registry.record import RegisteredSubnet


def values_of(subnet: RegisteredSubnet) -> dict[str, Any]:
    """Return a registered subnet as plain values, ready for JSON."""
    record = subnet.record
    return {
        **record.to_dict(),
        "arch_id": record.arch.arch_id,
        "dataset_digest": record.dataset_digest,
        "latency_ms": record.latency_ms,
        "size_bytes": record.size_bytes,
        "version": subnet.version,
        "model_uri": subnet.model_uri,
    }


def subnet_answer(subnet: RegisteredSubnet) -> SubnetAnswer:
    """Return the answer of one subnet."""
    return SubnetAnswer.from_dict(values_of(subnet))


def front_answer(
    subnets: Sequence[RegisteredSubnet], *, device: str, quantile: Quantile
) -> FrontAnswer:
    """Return the answer of a front."""
    return FrontAnswer(
        device=device, quantile=quantile, subnets=tuple(_figures(item) for item in subnets)
    )


def list_answer(subnets: Sequence[RegisteredSubnet]) -> SubnetList:
    """Return the answer of a list, in its order."""
    return SubnetList(tuple(_figures(item) for item in subnets))


def page_answer(subnets: Sequence[RegisteredSubnet], *, limit: int, offset: int) -> SubnetPage:
    """Return a page of a list.

    Args:
        subnets: The whole list.
        limit: Subnets of the page, at most.
        offset: Place of its first one.
    """
    return SubnetPage(
        total=len(subnets),
        offset=offset,
        subnets=tuple(_figures(item) for item in subnets[offset : offset + limit]),
    )


def comparison_answer(subnets: Sequence[RegisteredSubnet]) -> ComparisonAnswer:
    """Return subnets side by side, and how they differ from the first."""
    first, *others = subnets
    return ComparisonAnswer(
        subnets=tuple(_figures(item) for item in subnets),
        differences=tuple(_difference(item, first) for item in others),
    )


def explanation_answer(found: Explanation) -> ExplanationAnswer:
    """Return the price of a budget."""
    return ExplanationAnswer(
        subnet=_figures(found.subnet),
        runner_up=None if found.runner_up is None else _figures(found.runner_up),
        next_better=None if found.next_better is None else _figures(found.next_better),
        extra_ms=found.extra_ms,
        points_gained=found.points_gained,
        points_per_ms=found.points_per_ms,
        noise_points=found.noise_points,
        is_gain_noise=found.is_gain_noise,
    )


def _figures(subnet: RegisteredSubnet) -> RegisteredFigures:
    return RegisteredFigures.from_dict(values_of(subnet))


def _difference(subnet: RegisteredSubnet, first: RegisteredSubnet) -> Difference:
    mine, its = subnet.record, first.record
    gain = mine.accuracy_top1 - its.accuracy_top1
    return Difference(
        model_uri=subnet.model_uri,
        accuracy_points=100 * gain,
        is_within_noise=abs(gain) <= max(accuracy_noise(subnet), accuracy_noise(first)),
        latency_ratio={
            device: mine.latency[device].p50_ms / its.latency[device].p50_ms
            for device in sorted(mine.latency.keys() & its.latency.keys())
        },
        size_ratio=mine.size_bytes / its.size_bytes,
    )
