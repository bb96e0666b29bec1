"""Progress of long work: events from the library, rendered by whoever runs it.

The library reports to a `Reporter`; the command line draws a bar, the flow turns the same
events into its own progress. Nothing here prints.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent:
    """One report of progress."""

    label: str
    """What is being done, for example ``kernel epoch 2``."""
    done: int = 0
    total: int = 0
    """0 when the event is a plain message."""
    unit: str = ""
    """What ``done`` counts, for example ``images``."""
    rate_per_s: float = 0.0
    seconds_left: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    is_warning: bool = False
    """Whether a message says that something went wrong that does not stop the work."""


Sink = Callable[[ProgressEvent], None]


def ignore(_: ProgressEvent) -> None:
    """Sink that drops every event."""


class Tracker:
    """Counts work done towards a known total and reports at most every `interval_s`."""

    def __init__(self, sink: Sink, *, label: str, total: int, unit: str, interval_s: float) -> None:
        """Start the clock."""
        self._sink = sink
        self._label = label
        self._total = total
        self._unit = unit
        self._interval_s = interval_s
        self._done = 0
        self._start = time.monotonic()
        self._last_report = float("-inf")
        self._skipped = 0

    def skip(self, count: int) -> None:
        """Count work that an earlier run did: done, but no part of the rate."""
        self._done += count
        self._skipped += count

    def advance(self, count: int = 1, **metrics: float) -> None:
        """Count `count` more units and report when it is time, and always at the end."""
        self._done += count
        now = time.monotonic()
        if now - self._last_report < self._interval_s and self._done < self._total:
            return
        self._last_report = now
        rate = (self._done - self._skipped) / max(now - self._start, 1e-9)
        self._sink(
            ProgressEvent(
                label=self._label,
                done=self._done,
                total=self._total,
                unit=self._unit,
                rate_per_s=rate,
                seconds_left=max(self._total - self._done, 0) / max(rate, 1e-9),
                metrics=metrics,
            )
        )


class Reporter:
    """Where long work reports to."""

    def __init__(self, sink: Sink = ignore, *, interval_s: float = 0.5) -> None:
        """Send every event to `sink`, at most one every `interval_s` for each tracker."""
        self._sink = sink
        self._interval_s = interval_s

    def track(self, label: str, *, total: int, unit: str) -> Tracker:
        """Return a tracker for `total` units of work."""
        return Tracker(self._sink, label=label, total=total, unit=unit, interval_s=self._interval_s)

    def iterate(self, items: Iterable[T], label: str, *, total: int, unit: str) -> Iterator[T]:
        """Yield the items, counting each one when the consumer comes back for the next."""
        tracker = self.track(label, total=total, unit=unit)
        for item in items:
            yield item
            tracker.advance()

    def pass_on(self, event: ProgressEvent) -> None:
        """Report what another process reported."""
        self._sink(event)

    def message(self, text: str, **metrics: float) -> None:
        """Report something that is worth a line."""
        self._sink(ProgressEvent(label=text, metrics=metrics))

    def warning(self, text: str) -> None:
        """Report something that went wrong and does not stop the work."""
        self._sink(ProgressEvent(label=text, is_warning=True))


SILENT = Reporter()
