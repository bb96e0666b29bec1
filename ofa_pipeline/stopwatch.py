"""Seconds that a piece of work took, over all the runs that it needed.

A run that is killed loses what it spent since its last note; the next run knows that it was
killed and says that the sum lacks something.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.resume import ResumeLog

FILE_NAME = "seconds.jsonl"
FINISHED_KEY = "finished"
"""Beside the seconds of a stage: when it ended, ISO 8601 in UTC."""
_KEY = "seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Time that was spent on something."""

    cpu_s: float = 0.0
    """CPU seconds of the process, over all its threads."""
    wall_s: float = 0.0
    is_complete: bool = True
    """Whether nothing is missing: not what a killed run did after its last note, nor what an
    earlier version did, which took no note."""
    on_cuda: bool = False
    """Whether a CUDA device worked meanwhile: then CPU seconds alone say little."""

    def __add__(self, other: "Seconds") -> "Seconds":
        """Return both together."""
        return Seconds(
            cpu_s=self.cpu_s + other.cpu_s,
            wall_s=self.wall_s + other.wall_s,
            is_complete=self.is_complete and other.is_complete,
            on_cuda=self.on_cuda or other.on_cuda,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Seconds":
        """Read what `to_dict` returned.

        Raises:
            KeyError: If a value is missing.
        """
        return cls(
            cpu_s=float(values["cpu_s"]),
            wall_s=float(values["wall_s"]),
            is_complete=bool(values["is_complete"]),
            on_cuda=bool(values["on_cuda"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


class Stopwatch:
    """Counts the seconds of a block of code, and goes on from what earlier runs of it noted.

    A context manager; outside of the block it stands still.
    """

    def __init__(self, path: Path | None = None, *, reporter: Reporter = SILENT) -> None:
        """Count from nothing, or from the notes in a file of JSON lines; None notes nothing."""
        self._path = path
        self._reporter = reporter
        self._log: ResumeLog | None = None
        self._before = Seconds()
        self._start: tuple[float, float] | None = None

    def __enter__(self) -> Self:
        """Start, after what the notes say."""
        if self._path is not None and self._log is None:
            self._log = ResumeLog(self._path, reporter=self._reporter)
            row = self._log.rows.get(_KEY)
            if row is not None:
                # A run that could still end its block noted that it does not run any more.
                self._before = Seconds.from_dict(row) + Seconds(is_complete=not row["is_running"])
        self._start = (time.process_time(), time.perf_counter())
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and note it; an error of the block goes on."""
        self._before, self._start = self.seconds, None
        self.note()

    @property
    def seconds(self) -> Seconds:
        """What was spent up to now, by earlier runs too."""
        if self._start is None:
            return self._before
        cpu_s, wall_s = self._start
        return self._before + Seconds(
            cpu_s=time.process_time() - cpu_s,
            wall_s=time.perf_counter() - wall_s,
            on_cuda=_uses_cuda(),
        )

    def note(self) -> None:
        """Write down what was spent: call it wherever the work itself is saved."""
        if self._log is not None:
            row = {**self.seconds.to_dict(), "is_running": self._start is not None}
            self._log.append(_KEY, row)

    def add(self, seconds: Seconds) -> None:
        """Count what other processes spent on the same work."""
        self._before += seconds

    def expect_earlier(self) -> None:
        """Say that an earlier run has done a part: if it took no note, that part is missing."""
        if self._log is not None and not self._before.wall_s:
            self._before += Seconds(is_complete=False)


def _uses_cuda() -> bool:
    """Return whether this process computes on CUDA; it does not import torch to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())
