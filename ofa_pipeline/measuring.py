"""The only loop over subnets: measure each of them, and lose nothing when killed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ofa_pipeline.compute import Executor, Item
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.resume import ResumeLog
from ofa_pipeline.stopwatch import Stopwatch

Row = dict[str, Any]
"""What was measured of one subnet, as plain values that survive JSON bit for bit."""
Task = TypeVar("Task", bound=Item)


class MeasurementNotes(Protocol):
    """What an unfinished stage has measured, where a kill does not reach it."""

    reporter: Reporter
    """Told of the progress."""

    @property
    def rows(self) -> Mapping[str, Row]:
        """What was measured, by the key of the task."""
        ...

    def append(self, key: str, row: Row) -> None:
        """Note a measurement."""
        ...


class MeasurementLog(ResumeLog):
    """What an unfinished stage has measured, with the seconds noted beside each measurement."""

    def __init__(
        self, path: Path, *, reporter: Reporter = SILENT, stopwatch: Stopwatch | None = None
    ) -> None:
        """Read what an earlier process measured.

        Args:
            path: Path of the file, in a folder named after all that the measurements depend on.
            reporter: Told of damaged lines, and of the progress of `measure_all`.
            stopwatch: Stopwatch of the stage.
        """
        super().__init__(path, reporter=reporter)
        self.reporter = reporter
        self._stopwatch = stopwatch or Stopwatch()
        if self.rows:
            self._stopwatch.expect_earlier()

    def append(self, key: str, row: Row) -> None:
        """Note a measurement, and the seconds up to it."""
        super().append(key, row)
        self._stopwatch.note()


def measure_all(
    tasks: Sequence[Task],
    build: Callable[[], Callable[[Task], Row]],
    *,
    log: MeasurementNotes,
    executor: Executor,
    label: str,
    shown: Sequence[str] = (),
) -> list[Row]:
    """Measure what the log lacks, and return the row of each task in order.

    Args:
        tasks: What to measure, each with a key of its own.
        build: Returns what measures one task, see `ofa_pipeline.compute.Executor.run`.
        log: What was measured earlier; every new row is added as it arrives.
        executor: Where to measure.
        label: Names the progress.
        shown: Keys of the rows whose values are shown with the progress.

    Raises:
        Exception: What measuring a task raised, with a note that names the task.
    """
    progress = log.reporter.track(label, total=len(tasks), unit="subnets")
    missing = [task for task in tasks if task.key not in log.rows]
    progress.skip(len(tasks) - len(missing))
    for task, row in executor.run(build, missing):
        log.append(task.key, row)
        progress.advance(**{key: row[key] for key in shown})
    return [log.rows[task.key] for task in tasks]
