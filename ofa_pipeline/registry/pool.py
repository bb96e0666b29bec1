"""Values that many records share, kept once: a hundred thousand records fit beside a service."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ofa_pipeline.documents import LatencyFigures
from ofa_pipeline.registry.record import RegisteredSubnet


class Pool:
    """Hands out one object for equal values; what is read of each record is new otherwise."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._kept: dict[object, Any] = {}
        # Which values were given: all, always. Every figure has a set of its own otherwise.
        self._given = set(LatencyFigures.model_fields)

    def keep(self, subnets: Iterable[RegisteredSubnet]) -> None:
        """Forget what none of these has: something is gone."""
        self._kept = {}
        for item in subnets:
            self._kept.setdefault(item.record.arch, item.record.arch)
            self._kept.setdefault(tuple(item.record.lineage.items()), item.record.lineage)

    def share(self, subnet: RegisteredSubnet) -> RegisteredSubnet:
        """Return an equal subnet that shares architecture, lineage and names with earlier ones."""
        record = subnet.record
        shared = replace(
            record,
            arch=self._kept.setdefault(record.arch, record.arch),
            lineage=self._kept.setdefault(tuple(record.lineage.items()), record.lineage),
            latency={
                sys.intern(name): LatencyFigures.model_construct(self._given, **dict(figures))
                for name, figures in record.latency.items()
            },
            model_name=sys.intern(record.model_name),
            device=sys.intern(record.device),
            space_id=sys.intern(record.space_id),
            dataset=sys.intern(record.dataset),
        )
        return replace(subnet, record=shared)
