"""One Prefect task a stage. DVC judges whether there is anything to do; nothing else asks DVC.

Prefect's own result cache stays off: there is one judge of what is current.
"""

import time
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.tasks import Task

from flows.dvc_client import DvcClient, StageFailedError, Watcher
from flows.names import address_of, name_of_stage_run
from flows.progress import PROGRESS
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.cli.display import Display, duration_text, progress_text
from ofa_pipeline.dataset_summary import read_summary, summary_lines
from ofa_pipeline.exit_codes import EXIT_BUSY, EXIT_KILLED
from ofa_pipeline.params import load_params
from ofa_pipeline.progress import ProgressEvent
from ofa_pipeline.stages import STAGES, Stage, find_stage, missing_outside
from ofa_pipeline.stages.events import StageEvent

OutcomeKind = Literal["ran", "restored", "skipped", "checked"]

DISPLAY: ContextVar[Display | None] = ContextVar("DISPLAY", default=None)
"""Where people watch; Prefect's log and artifacts get the same either way."""

_CHECKS = frozenset(stage.name for stage in STAGES if stage.is_always_run)
_PROGRESS_EVERY_S = 5.0
_LOG_WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutcome:
    """How a stage came to be up to date."""

    address: str
    kind: OutcomeKind
    duration_s: float
    note: str = ""
    """What a check found."""

    @property
    def text(self) -> str:
        """A line for people."""
        if self.kind == "checked":
            return f"{self.address}: checked: {self.note}"
        if self.kind == "ran":
            return f"{self.address}: done in {duration_text(self.duration_s)}"
        if self.kind == "restored":
            return f"{self.address}: restored, an earlier run had the same inputs"
        return f"{self.address}: skipped, nothing changed"


def is_worth_retrying(_: Task[Any, Any], __: TaskRun, state: State[Any]) -> bool:
    """Return whether a failed stage may do better next time.

    A stage killed from outside (out of memory, an impatient administrator) resumes from its
    checkpoint, and a lock held by another DVC command is given back. Wrong inputs stay wrong.
    """
    error = state.result(raise_on_failure=False)
    return isinstance(error, StageFailedError) and error.exit_code in (EXIT_KILLED, EXIT_BUSY)


@task(
    task_run_name=name_of_stage_run,
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=[5, 30],
    retry_condition_fn=is_worth_retrying,
)
def bring_up_to_date(dvc: DvcClient, stage: str, item: str | None = None) -> StageOutcome:
    """Bring one stage of a workspace up to date.

    Args:
        dvc: DVC in the workspace, which this run holds.
        stage: Name of a row of `STAGES`.
        item: Phase or device, where the stage has them.

    Raises:
        StageFailedError: If it fails; with the stage's own words.
    """
    row, address = find_stage(stage), address_of(stage, item)
    outcome = _ask_for(dvc, address)
    if outcome.kind != "skipped":
        _show_summary(dvc.root / row.writes.format(item=item))
    if row.makes_outside and (missing := _missing(row, item, dvc.root)):
        get_run_logger().info("%s: gone meanwhile, made again: %s", address, ", ".join(missing))
        return _ask_for(dvc, address, force=True)
    return outcome


def _show_summary(artifact: Path) -> None:
    """Say what a dataset is made of: on the terminal and in Prefect's log."""
    summary = read_summary(artifact)
    if summary is None:
        return
    logger = get_run_logger()
    lines = summary_lines(summary, width=_LOG_WIDTH)
    logger.info("\n".join(line.text for line in lines if not line.is_warning))
    for text in summary.warnings:
        logger.warning(text)
    display = DISPLAY.get()
    if display:
        display.summarize(summary)


def _missing(row: Stage, item: str | None, root: Path) -> tuple[str, ...]:
    """Return what a stage has made where DVC does not see it, and is there no more."""
    return missing_outside(row, item, layout=Layout(root), params=load_params(root / "params.yaml"))


def _ask_for(dvc: DvcClient, address: str, *, force: bool = False) -> StageOutcome:
    """Ask for a stage inside a task; with `force`, also when nothing changed.

    Raises:
        StageFailedError: If it fails.
    """
    display = DISPLAY.get()
    is_check = address in _CHECKS
    # What a check finds is its outcome: one line, not two.
    watcher = _TaskWatcher(address, None if is_check else display)
    try:
        changed = dvc.ask("force" if force else "reproduce", [address], watcher)
    finally:
        watcher.finish()
    duration_s = time.monotonic() - watcher.turn_began
    kind: OutcomeKind = "ran" if watcher.has_started else "restored" if changed else "skipped"
    if is_check:
        kind = "checked"
    outcome = StageOutcome(
        address=address, kind=kind, duration_s=duration_s, note=watcher.last_message
    )
    get_run_logger().info(outcome.text)
    if display:
        display.line(outcome.text, style="" if kind == "ran" else "dim")
    return outcome


class _TaskWatcher(Watcher):
    """Shows progress on the terminal, in Prefect's log and in the bar of the run."""

    def __init__(self, address: str, display: Display | None) -> None:
        super().__init__()
        self._address = address
        self._display = display
        self._logger = get_run_logger()
        # Events arrive in another thread: Prefect files what is made there under this task.
        self._context: Context = copy_context()
        self._next_update = 0.0
        self.last_message = ""

    def receive(self, event: StageEvent) -> None:
        super().receive(event)
        if event.kind == "progress":
            self._context.run(self._show, event.progress)

    def finish(self) -> None:
        if self._display:
            self._display.finish(self._address)

    def _show(self, event: ProgressEvent) -> None:
        if self._display:
            self._display.show(self._address, event)
        if event.is_warning:
            self._logger.warning(event.label)
        elif event.total == 0:
            self.last_message = event.label
            figures = "".join(f", {name} {value:.4g}" for name, value in event.metrics.items())
            self._logger.info("%s%s", event.label, figures)
        elif time.monotonic() >= self._next_update:
            self._next_update = time.monotonic() + _PROGRESS_EVERY_S
            if progress := PROGRESS.get():
                text = f"{event.label}: {progress_text(event)}"
                progress.show(self._address, 100 * event.done / event.total, text)
