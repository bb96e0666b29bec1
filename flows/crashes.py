"""Runs that were killed: found and marked as crashed when the next one starts.

Prefect itself never notices that the process of a run is gone. Whoever holds the workspace knows:
no other run of it can be alive.
"""

import hashlib
from pathlib import Path

import prefect.runtime
from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import State, StateType
from prefect.states import Crashed

_ALIVE = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


def workspace_tag(root: Path) -> str:
    """Return the tag of all runs of a workspace."""
    return f"workspace-{hashlib.sha256(str(root).encode()).hexdigest()[:10]}"


def mark_crashed_runs(root: Path) -> int:
    """Mark the runs of a held workspace that seem alive, but for this one, as crashed.

    Returns:
        How many there were.
    """
    chosen = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[workspace_tag(root)]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_ALIVE)),
    )
    this_run = prefect.runtime.flow_run.id
    count = 0
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=chosen):
            if str(run.id) != str(this_run):
                state: State[None] = Crashed(
                    message="its process was killed: the next run found it gone"
                )
                client.set_flow_run_state(run.id, state, force=True)
                count += 1
    return count
