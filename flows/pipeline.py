"""The whole story: train once, then hand every device its own subnets."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import prefect.runtime
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import TagsContext
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger

from flows.checks import check_run
from flows.crashes import mark_crashed_runs
from flows.dvc_client import DvcClient, StageFailedError
from flows.names import name_of_flow_run
from flows.notices import notices_shown
from flows.outlook import followed
from flows.progress import shown_progress
from flows.results import show_results
from flows.stages import DISPLAY, StageEnd, StageOutcome, bring_up_to_date
from flows.waiting import Waiting, until_measured
from flows.watch import SAVING_PATIENCE_S
from ofa_pipeline.masking import mask_logs
from ofa_pipeline.params import load_params
from ofa_pipeline.parent import end_with_parent
from ofa_pipeline.registry import begin_registry
from ofa_pipeline.workspace import choose_version_control, hold_workspace

DEVICE_STAGES = ("profile_latency", "search", "specialize", "register")


@flow(name="once-for-all", flow_run_name=name_of_flow_run, validate_parameters=False)
def pipeline(workspace: str) -> State[str] | None:
    """Bring every artifact of a workspace up to date, from the images to the registry.

    Where devices elsewhere have to be measured first, it says what to do: of a deployment it is
    suspended until one was; otherwise it ends as ``Awaited``.

    Args:
        workspace: Folder with params.yaml; held by the process that runs this.
    """
    with open_workspace(workspace) as dvc:
        root = dvc.root
        params = load_params(root / "params.yaml")
        check_run(root, params)
        registry_is_made = begin_registry(root, params)

        with followed(dvc, params) as outlook_is_made:
            bring_up_to_date(dvc, "list_source")
            bring_up_to_date(dvc, "prepare_dataset")
            for kind in params.training.initial_weights:
                bring_up_to_date(dvc, "import_weights", kind)
            for phase in params.phases:
                bring_up_to_date(dvc, "train_supernet", phase)
            bring_up_to_date(dvc, "collect_accuracy")
            bring_up_to_date(dvc, "fit_predictor")

            outlook_is_made()
            registry_is_made()  # nothing runs beside a measurement of latency
            waiting = serve_devices(dvc, params.devices)
            if waiting is None:
                bring_up_to_date(dvc, "report")
        if waiting is None:
            show_results(root, params)
    return until_measured(workspace, waiting)


@contextmanager
def open_workspace(workspace: str) -> Iterator[DvcClient]:
    """Hold a workspace and open DVC in it; an earlier run that seems alive was killed.

    Raises:
        WorkspaceBusyError: If another run holds the workspace.
    """
    mask_logs()
    root = Path(workspace).resolve()
    display = DISPLAY.get()
    if prefect.runtime.deployment.id is not None:
        # Of a server that is killed nothing stays behind; Prefect would ask it again for minutes.
        end_with_parent(os.getppid(), grace_s=SAVING_PATIENCE_S)
    show = display.line if display else _show_nowhere
    with (
        hold_workspace(root, role="run", is_patient=_waits(root)),
        notices_shown(show, get_run_logger()),
    ):
        choose_version_control(root)
        mark_crashed_runs(root)
        # The tag of the workspace is of runs alone: for each tag of a task Prefect asks its server
        # for a limit of concurrency, which waits for whoever else writes, up to a minute.
        with TagsContext(current_tags=set()), DvcClient(root) as dvc, shown_progress(root):
            yield dvc


def _waits(root: Path) -> bool:
    """Whether a run on a server waits for the one that holds the workspace."""
    if prefect.runtime.deployment.id is None:
        return False
    if prefect.runtime.flow_run.run_count > 1:
        return True  # it was suspended: whoever holds the workspace may be measured for, too
    return load_params(root / "params.yaml").schedule.when_busy == "wait"


def _show_nowhere(_: str) -> None:
    """Nobody watches a served run; its log is kept."""


def serve_devices(
    dvc: DvcClient,
    devices: Iterable[str],
    *,
    stages: Sequence[str] = DEVICE_STAGES,
    again: bool = False,
) -> Waiting | None:
    """Search, specialise and register for every device; one that fails does not stop the others.

    Args:
        dvc: DVC in a workspace that is held.
        devices: Names in params.yaml.
        stages: The first of `DEVICE_STAGES`, or all.
        again: Run the first of them though nothing has changed.

    Returns:
        None, or what is to be measured elsewhere before the run can go on.

    Raises:
        StageFailedError: If a device failed; names every one.
    """
    chains = {device: _submit_chain(dvc, device, stages, again=again) for device in devices}
    try:
        ends = {device: _end_of(chain) for device, chain in chains.items()}
    except BaseException as error:
        dvc.stop(error)
        raise
    failures = [end for end in ends.values() if isinstance(end, StageFailedError)]
    awaited = {device: end for device, end in ends.items() if isinstance(end, str)}
    text = "\n".join(str(end) for end in ends.values() if end is not None)
    if failures:
        raise StageFailedError(text, exit_code=failures[0].exit_code)
    if not awaited:
        return None
    get_run_logger().warning(text)
    return Waiting(tuple(awaited), text)


def _submit_chain(
    dvc: DvcClient, device: str, stages: Sequence[str], *, again: bool
) -> list[PrefectFuture[StageEnd]]:
    chain: list[PrefectFuture[StageEnd]] = []
    for stage in stages:
        before = chain[-1] if chain else None
        is_again = again and before is None
        chain.append(
            bring_up_to_date.submit(
                dvc, stage, device, again=is_again, before=before, return_state=False
            )
        )
    return chain


def _end_of(chain: list[PrefectFuture[StageEnd]]) -> StageFailedError | str | None:
    """Wait for the stages of a device; return why one failed, or what is to be done elsewhere."""
    for future in chain:
        future.wait()
    ends = (_own_end(future.state) for future in chain)
    return next((end for end in ends if end is not None), None)


def _own_end(state: State[Any]) -> StageFailedError | str | None:
    """Return how a task ended; None when it ended well, or only because of the one before it."""
    if state.name == "NotReady":
        return None
    found = state.result(raise_on_failure=False)
    if isinstance(found, StageOutcome):
        return found.note if found.kind == "awaited" else None
    if isinstance(found, StageFailedError):
        return found
    return StageFailedError(f"{state.message or state.name}", exit_code=1)
