"""What the options of benchmarks must be, and how a fault is told: in a sentence, before work."""

import argparse
import math
import sys
from collections.abc import Callable

from ofa_pipeline.errors import OfaPipelineError


def at_least(minimum: int) -> Callable[[str], int]:
    """Return what reads an option that is a whole number of at least this."""

    def read(text: str) -> int:
        if not text.strip().removeprefix("-").isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {minimum}, got {text!r}"
            )
        return int(text)

    return read


def above_zero(text: str) -> float:
    """Read an option that is a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return number


def told(main: Callable[[], int | None]) -> int:
    """Run a benchmark and return its exit code; what it was given wrongly is an error in a line."""
    try:
        return main() or 0
    except OfaPipelineError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
