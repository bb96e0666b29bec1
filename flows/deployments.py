"""What can be run on a server: one row a deployment, for `ofa-pipeline serve` and `prefect.yaml`.

A test holds `prefect.yaml` equal to it. This module imports no Prefect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One flow as a server offers it."""

    name: str
    module: str
    flow: str
    description: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Beside the workspace."""
    is_scheduled: bool = False
    """Whether `schedule` of params.yaml starts it; else `cron` does, or somebody."""
    cron: str = ""
    """When it starts, in the time zone of `schedule`; empty: when somebody starts it."""
    needed: tuple[str, ...] = ()
    """Parameters that whoever starts it gives."""


DEPLOYMENTS = (
    Deployment(
        name="scheduled",
        module="flows.pipeline",
        flow="pipeline",
        description="Bring every artifact up to date, from the images to the registry.",
        is_scheduled=True,
    ),
    Deployment(
        name="on-demand",
        module="flows.devices",
        flow="add_devices",
        description="Serve new devices or budgets from the supernet that is there; never trains.",
        parameters={"devices": []},
    ),
    Deployment(
        name="nightly",
        module="flows.recertify",
        flow="re_certify",
        description="Measure what was certified again; search again where a device has changed.",
        parameters={"devices": []},
        cron="0 1 * * *",
    ),
    Deployment(
        name="new-budgets",
        module="flows.research",
        flow="re_search",
        description="Serve other latency budgets of a device; never trains.",
        needed=("device", "budgets_ms"),
    ),
)

RUNS_AT_A_TIME = 1
"""Runs of one deployment; what is asked for meanwhile is treated as `WHEN_ONE_RUNS` says."""
WHEN_ONE_RUNS = "CANCEL_NEW"
WHEN_ONE_WAITS = "ENQUEUE"
"""The same with ``schedule.when_busy: wait``."""
