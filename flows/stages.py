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
from prefect.states import Completed
from prefect.tasks import Task

from flows.dvc_client import DvcClient, StageFailedError, Watcher
from flows.names import name_of_stage_run
from flows.progress import PROGRESS
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.cli.display import Display, duration_text, progress_text
from ofa_pipeline.dataset_summary import read_summary, summary_lines
from ofa_pipeline.exit_codes import EXIT_AWAITED, EXIT_BUSY, EXIT_KILLED
from ofa_pipeline.params import load_params
from ofa_pipeline.planning import Outlook, address_of
from ofa_pipeline.progress import ProgressEvent
from ofa_pipeline.stages import STAGES, Stage, find_stage, missing_outside
from ofa_pipeline.stages.events import StageEvent

OutcomeKind = Literal["ran", "restored", "skipped", "checked", "awaited"]

DISPLAY: ContextVar[Display | None] = ContextVar("DISPLAY", default=None)
"""Where people watch; Prefect's log and artifacts get the same either way."""

OUTLOOK: ContextVar[Outlook | None] = ContextVar("OUTLOOK", default=None)
"""How far the run is."""

_CHECKS = frozenset(stage.name for stage in STAGES if stage.is_always_run)
_PROGRESS_EVERY_S = 5.0
_LOG_WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutcome:
    """How a stage came to be up to date, or that it waits for a device elsewhere."""

    address: str
    kind: OutcomeKind
    duration_s: float
    note: str = ""
    """What a check found, or what has to be done elsewhere first."""

    @property
    def text(self) -> str:
        """A line for people."""
        if self.kind == "awaited":
            return f"{self.address}: waits for a device elsewhere"
        if self.kind == "checked":
            return f"{self.address}: checked: {self.note}"
        if self.kind == "ran":
            return f"{self.address}: done in {duration_text(self.duration_s)}"
        if self.kind == "restored":
            return f"{self.address}: restored, an earlier run had the same inputs"
        return f"{self.address}: skipped, nothing changed"


StageEnd = StageOutcome | State[StageOutcome]
"""What the task of a stage returns: a state where it waits, whose name Prefect's pages show."""


def _position(address: str) -> str:
    """Return where in the run a stage stands, as the start of a line."""
    outlook = OUTLOOK.get()
    return f"{outlook.position(address)}: " if outlook else ""


def _rest_of_run() -> str:
    """Return how long the run still takes, as the end of a line."""
    outlook = OUTLOOK.get()
    left_s = outlook.seconds_left() if outlook else None
    return f", about {duration_text(left_s)} left of the run" if left_s is not None else ""


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
def bring_up_to_date(
    dvc: DvcClient,
    stage: str,
    item: str | None = None,
    *,
    again: bool = False,
    before: StageOutcome | None = None,
) -> StageEnd:
    """Bring one stage of a workspace up to date.

    Args:
        dvc: DVC in the workspace, which this run holds.
        stage: Name of a row of `STAGES`.
        item: Phase or device, where the stage has them.
        again: Run it though nothing that DVC sees has changed.
        before: How the stage before it ended; with one that waits, this one does, too.

    Returns:
        The outcome; as a state called ``Awaited`` where a device elsewhere has to be measured
        first. To wait is no failure, and is not logged as one.

    Raises:
        StageFailedError: If it fails; with the stage's own words.
    """
    address = address_of(stage, item)
    if before is not None and before.kind == "awaited":
        get_run_logger().info(f"{address}: not begun, because {before.text}")
        return _awaited(before)
    try:
        return _brought_up_to_date(dvc, find_stage(stage), item, again=again)
    except StageFailedError as error:
        if error.exit_code != EXIT_AWAITED:
            raise
        outcome = StageOutcome(address=address, kind="awaited", duration_s=0, note=str(error))
        get_run_logger().info(outcome.text)
        return _awaited(outcome)


def _awaited(outcome: StageOutcome) -> State[StageOutcome]:
    return Completed(name="Awaited", message=outcome.note, data=outcome)


def _brought_up_to_date(
    dvc: DvcClient, row: Stage, item: str | None, *, again: bool
) -> StageOutcome:
    address = address_of(row.name, item)
    if again:
        return _ask_for(dvc, address, force=True)
    outcome = _ask_for(dvc, address)
    if outcome.kind != "skipped":
        _show_summary(dvc.root / row.writes.format(item=item))
    if row.makes_outside and (missing := _missing(row, item, dvc.root)):
        say(f"{address}: made again, because it is stale or gone: {', '.join(missing)}")
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


def say(text: str) -> None:
    """Say a line in Prefect's log and on the terminal."""
    get_run_logger().info(text)
    if display := DISPLAY.get():
        display.line(text)


def _missing(row: Stage, item: str | None, root: Path) -> tuple[str, ...]:
    """Return what has changed where DVC does not see it; see `missing_outside`."""
    return missing_outside(row, item, layout=Layout(root), params=load_params(root / "params.yaml"))


def _ask_for(dvc: DvcClient, address: str, *, force: bool = False) -> StageOutcome:
    """Ask for a stage inside a task; with `force`, also when nothing changed.

    Raises:
        StageFailedError: If it fails.
    """
    display = DISPLAY.get()
    is_check = address in _CHECKS
    # What a check finds is its outcome: one line, not two.
    watcher = _TaskWatcher(address, None if is_check else display, OUTLOOK.get())
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
    text = f"{_position(address)}{outcome.text}{_rest_of_run() if kind == 'ran' else ''}"
    get_run_logger().info(text)
    if display:
        display.line(text, style="" if kind == "ran" else "dim")
    return outcome


class _TaskWatcher(Watcher):
    """Shows progress on the terminal, in Prefect's log and in the bar of the run."""

    def __init__(self, address: str, display: Display | None, outlook: Outlook | None) -> None:
        super().__init__()
        self._address = address
        self._display = display
        self._outlook = outlook
        self._logger = get_run_logger()
        # Events arrive in another thread: Prefect files what is made there under this task.
        self._context: Context = copy_context()
        self._next_update = 0.0
        self.last_message = ""

    def begin(self) -> None:
        super().begin()
        if self._outlook:
            self._outlook.ask(self._address)

    def receive(self, event: StageEvent) -> None:
        super().receive(event)
        if event.kind == "started":
            self._context.run(self._show_start)
        if event.kind == "progress":
            self._context.run(self._show, event.progress)

    def finish(self) -> None:
        if self._display:
            self._display.finish(self._address)
        if self._outlook:
            self._outlook.end(self._address)

    def _show_start(self) -> None:
        # A check runs each time, and nothing follows from that.
        if self._outlook and self._address not in _CHECKS:
            self._outlook.start(self._address)
        if self._display:
            text = f"{_position(self._address)}{self._address} begins{_rest_of_run()}"
            self._display.line(text, style="dim")

    def _show(self, event: ProgressEvent) -> None:
        if self._outlook and event.total:
            self._outlook.progress(self._address, event.seconds_left)
        rest = _rest_of_run() if event.total else ""
        if self._display:
            self._display.show(self._address, event, rest=rest)
        if event.is_warning:
            self._logger.warning(event.label)
        elif event.total == 0:
            self.last_message = event.label
            figures = "".join(f", {name} {value:.4g}" for name, value in event.metrics.items())
            self._logger.info("%s%s", event.label, figures)
        elif time.monotonic() >= self._next_update:
            self._next_update = time.monotonic() + _PROGRESS_EVERY_S
            if progress := PROGRESS.get():
                text = f"{event.label}: {progress_text(event)}{rest}"
                progress.show(self._address, 100 * event.done / event.total, text)
