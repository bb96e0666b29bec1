"""Progress for people: a bar on a terminal, a line now and then anywhere else."""

import threading
import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from ofa_pipeline.dataset_summary import DatasetSummary, summary_lines
from ofa_pipeline.progress import ProgressEvent

LINE_EVERY_S = 15.0
"""Between two lines of progress where there is no terminal."""

_WIDEST = 100
"""Most characters of a line: longer ones are hard to read."""
_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400


class Display:
    """Shows the events of one or more stages; safe to use from several threads."""

    def __init__(self, console: Console) -> None:
        """Draw bars when the console is a terminal."""
        self._console = console
        self._lock = threading.Lock()
        self._bars: dict[str, TaskID] = {}
        self._last_line: dict[str, float] = {}
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "Display":
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bars away."""
        self._progress.stop()

    def line(self, text: str, *, style: str = "") -> None:
        """Print a line that stays."""
        with self._lock:
            self._console.print(escape(text), style=style or None, highlight=False, soft_wrap=True)

    def show(self, stage: str, event: ProgressEvent, *, rest: str = "") -> None:
        """Show an event of a stage, with what is left of the run behind it."""
        if event.is_warning:
            self.line(f"  {stage}: warning: {event.label}", style="yellow")
            return
        if event.total == 0:
            self.line(f"  {stage}: {event.label}{_metrics(event)}", style="dim")
            return
        if self._console.is_terminal:
            self._draw(stage, event, rest)
            return
        now = time.monotonic()
        last = self._last_line.setdefault(stage, now)
        if now - last >= LINE_EVERY_S:
            self._last_line[stage] = now
            self.line(f"  {stage}: {event.label}, {progress_text(event)}{rest}")

    def summarize(self, summary: DatasetSummary) -> None:
        """Print what the preparation of a dataset did, in lines as wide as the terminal."""
        for line in summary_lines(summary, width=min(self._console.width, _WIDEST)):
            self.line(line.text, style="yellow" if line.is_warning else "")

    def finish(self, stage: str) -> None:
        """Take the bar of a stage away."""
        with self._lock:
            bar = self._bars.pop(stage, None)
            if bar is not None:
                self._progress.remove_task(bar)

    def _draw(self, stage: str, event: ProgressEvent, rest: str) -> None:
        with self._lock:
            if stage not in self._bars:
                self._bars[stage] = self._progress.add_task(stage, detail="")
            self._progress.update(
                self._bars[stage],
                description=escape(f"{stage}: {event.label}"),
                total=event.total,
                completed=event.done,
                detail=escape(progress_text(event) + rest),
            )


def progress_text(event: ProgressEvent) -> str:
    """Return how far, how fast and how long still, for example ``40 %, 812 images/s, 2 min``."""
    parts = [f"{100 * event.done / max(event.total, 1):.0f} %"]
    if event.rate_per_s > 0 and event.unit:
        parts.append(f"{event.rate_per_s:.3g} {event.unit}/s")
    if event.done < event.total and event.seconds_left > 0:
        parts.append(f"{duration_text(event.seconds_left)} left")
    return ", ".join(parts) + _metrics(event)


def duration_text(seconds: float) -> str:
    """Return a duration for people: ``8 s``, ``12 min``, ``3.4 h``, ``5.1 days``."""
    if seconds < 1.5 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < 1.5 * _DAY_S:
        return f"{seconds / _HOUR_S:.1f} h"
    return f"{seconds / _DAY_S:.1f} days"


def _metrics(event: ProgressEvent) -> str:
    return "".join(f", {name} {value:.4g}" for name, value in event.metrics.items())
