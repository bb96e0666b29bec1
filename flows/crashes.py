"""Runs that were killed: Prefect by itself never notices that the process of a run is gone.

Two ways to notice: a served run that stops to report is marked by its server; and whoever holds a
workspace knows that no other run of it can be alive.
"""

import hashlib
from datetime import timedelta
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
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import (
    AutomationCore,
    EventTrigger,
    Posture,
)
from prefect.states import Crashed

SILENCE_S = 90.0
"""A run reports every `PREFECT_FLOWS_HEARTBEAT_FREQUENCY` seconds, 30 here."""

_AUTOMATION = "once-for-all: mark runs that stopped to report as crashed"
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


def crash_silent_runs() -> None:
    """Have the server mark runs as crashed that stop to report without having ended.

    Follows Prefect's documentation, "How to detect zombie flow runs".
    """
    # One that is suspended has no process, and needs none.
    names = ("Completed", "Awaited", "Failed", "Cancelled", "Crashed", "Suspended")
    ended = {f"prefect.flow-run.{name}" for name in names}
    heartbeat = "prefect.flow-run.heartbeat"
    trigger = EventTrigger(
        after={heartbeat},
        expect={heartbeat, *ended},
        match={"prefect.resource.id": ["prefect.flow-run.*"]},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=SILENCE_S),
    )
    action = ChangeFlowRunState(state=StateType.CRASHED, message="its process was killed")
    with get_client(sync_client=True) as client:
        wanted = AutomationCore(name=_AUTOMATION, trigger=trigger, actions=[action])
        present = client.read_automations_by_name(_AUTOMATION)
        for automation in present:  # that an earlier version made
            client.update_automation(automation.id, wanted)
        if not present:
            client.create_automation(wanted)
