"""Runs of deployments that wait for a device elsewhere: suspended until it was measured.

A suspended run has no process and holds neither the workspace nor the place of its deployment. A
note in the workspace names it, so that whoever brings the measurements can have it go on.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import prefect.runtime
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound, Pause
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed, Suspended

from flows.outage import as_outage, masked
from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.cli.hints import command
from ofa_pipeline.devices.elsewhere import ElsewhereStore
from ofa_pipeline.documents import WaitingRun, read_document
from ofa_pipeline.errors import OfaPipelineError

SUSPENDED = "Suspended"
"""What Prefect calls the state of a run that waits without a process."""
_POLL_S = 15.0
_MAX_RETRIES = 2
"""Of a request that a busy server did not answer; one that is away is asked once."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a run waits for."""

    devices: tuple[str, ...]
    text: str
    """What is to be done, for people."""


def until_measured(workspace: str, waiting: Waiting | None) -> State[str] | None:
    """Suspend a run of a deployment until a device that it waits for was measured.

    To be called when the run holds the workspace no more: the one that goes on will want it.

    Returns:
        None where nothing is awaited; ``Awaited`` of a run that no server can start again, and of
        one that would wait beside another of the same flow and parameters.

    Raises:
        Pause: To end the process; Prefect knows what that means.
    """
    if waiting is None:
        return None
    if prefect.runtime.deployment.id is None:
        return _ended(waiting.text)
    root = Path(workspace).resolve()
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(str(prefect.runtime.flow_run.id)))
        if twin := _twin(client, root, run):
            return _ended(f"{twin.name} ({twin.id}) waits for the same already. {waiting.text}")
        note = _write_note(root, run, waiting)
        # A key of its own: the second time under the same one it would not be suspended.
        wanted: State[None] = Suspended(message=waiting.text, pause_key=str(uuid4()))
        result = client.set_flow_run_state(run.id, wanted)
    if result.status != SetStateStatus.ACCEPT:
        note.unlink()  # somebody has cancelled it meanwhile
        return _ended(waiting.text)
    for _ in resume_arrived(root):  # what came since the stage looked for it
        pass
    raise Pause(state=result.state)


def has_waited() -> bool:
    """Return whether this run was suspended before, and goes on now."""
    if prefect.runtime.deployment.id is None or prefect.runtime.flow_run.run_count <= 1:
        return False
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(UUID(str(prefect.runtime.flow_run.id)))
    return any(state.name == SUSPENDED for state in states)


def resume_arrived(root: Path) -> Iterator[str]:
    """Resume the runs of a workspace one of whose devices was measured; yield a line a run.

    Notes of runs that are over, or go on already, are removed.
    """
    for path in _notes(root):
        note = _read(path)
        if any(ElsewhereStore(Layout(root), name).awaited() is None for name in note.devices):
            yield from _resume(path, note)


def resume_as_they_arrive(root: Path, say: Callable[[str], object]) -> None:
    """Resume the waiting runs of a workspace, for ever.

    Args:
        root: The workspace.
        say: Told, once, what is resumed or cannot be.
    """
    said = set()
    while True:
        try:
            lines = list(resume_arrived(root))
        except OfaPipelineError as error:
            lines = [str(error)]
        for line in lines:
            if line not in said:
                say(line)
                said.add(line)
        time.sleep(_POLL_S)


def _ended(text: str) -> State[str]:
    return Completed(name="Awaited", message=text, data=text)


def _notes(root: Path) -> list[Path]:
    """Return the notes of a workspace, with the run first that has waited longest."""
    found = Layout(root).waiting_runs.glob("*.json")
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def _read(path: Path) -> WaitingRun:
    return read_document(path, WaitingRun, remake="ofa-pipeline serve")


def _write_note(root: Path, run: FlowRun, waiting: Waiting) -> Path:
    path = Layout(root).waiting_runs / f"{run.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    note = WaitingRun(
        flow_run=str(run.id),
        name=run.name,
        server=_without_secrets(PREFECT_API_URL.value() or ""),
        devices=waiting.devices,
    )
    write_json(path, note.to_dict())
    return path


def _without_secrets(url: str) -> str:
    found = urlsplit(url)
    return found._replace(netloc=found.netloc.rpartition("@")[2]).geturl()


def _twin(client: SyncPrefectClient, root: Path, run: FlowRun) -> FlowRun | None:
    """Return a run that does the same as this one and waits already."""
    for path in _notes(root):
        try:
            other = client.read_flow_run(UUID(_read(path).flow_run))
        except ObjectNotFound:
            continue
        does_the_same = (other.flow_id, other.parameters) == (run.flow_id, run.parameters)
        if does_the_same and other.id != run.id and other.state and other.state.is_paused():
            return other
    return None


def _resume(path: Path, note: WaitingRun) -> Iterator[str]:
    """Have a run go on, on the server that is configured here or the one that it was noted on."""
    go_on = command("run", "--device", note.devices[0])
    fault = "it is not known there any more."
    for server in dict.fromkeys(filter(None, (PREFECT_API_URL.value(), note.server))):
        changes = {PREFECT_API_URL: server, PREFECT_CLIENT_MAX_RETRIES: _MAX_RETRIES}
        try:
            with temporary_settings(changes), get_client(sync_client=True) as client:
                state = _ask_to_resume(client, UUID(note.flow_run))
        except ObjectNotFound:
            continue
        except Exception as error:  # Prefect's client raises whatever its libraries do
            outage = as_outage(error)
            if outage is None:
                raise
            fault = str(outage)
            continue
        # One that runs may be about to be suspended: it looks for what has come by itself then.
        if not state.is_running():
            path.unlink(missing_ok=True)
        if state.is_final():
            yield f"{note.name} waits no more: it is {state.name}. Go on: {go_on}"
        else:
            yield f"{note.name} waited for {', '.join(note.devices)} and goes on ({note.flow_run})"
        return
    yield (
        f"{note.name} waits on Prefect's server {masked(note.server)} and could not be resumed: "
        f"{fault} Go on without it: {go_on}; or remove {path}, if that run is gone."
    )


def _ask_to_resume(client: SyncPrefectClient, run: UUID) -> State[object]:
    """Resume a run, unless it is not suspended; return its state after that."""
    client.resume_flow_run(run)
    state = client.read_flow_run(run).state
    assert state is not None  # every run that was suspended has one
    return state
