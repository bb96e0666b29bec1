"""Follows a measurement elsewhere: its progress here, and further tries where it was lost."""

import re
import time
from collections.abc import Callable
from typing import ClassVar

from ofa_pipeline.errors import DeviceError
from ofa_pipeline.progress import Reporter

ATTEMPTS = 3
"""How often a measurement may be lost in a row without anything measured in between."""
WAIT_S = 3.0
_PROGRESS = re.compile(r"(\d+) of \d+(?:: | networks were measured before)")


class LostError(Exception):
    """The machine elsewhere, or the connection to it, was lost; another try may find it again."""

    how: ClassVar[str] = f"was lost {ATTEMPTS} times"
    """What is said where no try helped."""


class UnreachedError(LostError):
    """The machine elsewhere was not reached; another try may reach it."""

    how: ClassVar[str] = f"was not made in {ATTEMPTS} tries"


class Following:
    """Reports what `measure.py` prints as networks that are done."""

    def __init__(self, reporter: Reporter, where: str, *, total: int) -> None:
        """Report nothing yet.

        Args:
            reporter: Told of the progress.
            where: The machine, for people.
            total: Networks that are measured.
        """
        self._progress = reporter.track(f"on {where}", total=total, unit="networks")
        self.done = 0

    def note(self, line: str) -> None:
        """Take notice of a line."""
        found = _PROGRESS.match(line)
        if found and int(found[1]) > self.done:
            self._progress.skip(int(found[1]) - 1 - self.done)
            self._progress.advance()
            self.done = int(found[1])


def keep_trying(
    what: str,
    work: Callable[[], object],
    *,
    progress_of: Callable[[], int] = lambda: 0,
    advice: str = "What was measured is kept there: run again to go on.",
) -> None:
    """Do something again when it was lost, as long as it gets further.

    Args:
        what: What may be lost, for messages.
        work: Raises `LostError` where it was.
        progress_of: Tells how far it is.
        advice: What to do where it is lost time and again.

    Raises:
        DeviceError: If it is lost time and again.
    """
    failures, before = 0, progress_of()
    while True:
        try:
            work()
        except LostError as error:
            failures = 1 if progress_of() > before else failures + 1
            before = progress_of()
            if failures >= ATTEMPTS:
                raise DeviceError(f"{what} {error.how}: {error}. {advice}") from error
            time.sleep(WAIT_S)
        else:
            return
