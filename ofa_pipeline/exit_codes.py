"""The exit codes of our programs: what a shell, DVC and a flow read from a stage that ended."""

import signal
from types import FrameType
from typing import NoReturn

from ofa_pipeline.errors import (
    AwaitedError,
    InfeasibleConstraintError,
    MachineBusyError,
    WorkspaceBusyError,
)

EXIT_ERROR = 1
EXIT_BUSY = 3
EXIT_INFEASIBLE = 4
EXIT_AWAITED = 5
EXIT_RESTLESS = 6
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_KILLED = 128 + signal.SIGKILL
EXIT_TERMINATED = 128 + signal.SIGTERM

_CODES: dict[type[BaseException], int] = {
    KeyboardInterrupt: EXIT_INTERRUPTED,
    SystemExit: EXIT_TERMINATED,
    WorkspaceBusyError: EXIT_BUSY,
    InfeasibleConstraintError: EXIT_INFEASIBLE,
    AwaitedError: EXIT_AWAITED,
    MachineBusyError: EXIT_RESTLESS,
}

EXIT_CODES_HELP = (
    "Exit codes: 0 done, 1 an error (one line says what to do), 2 wrong usage, "
    "3 another run holds the workspace, 4 nothing meets the latency or accuracy asked for, "
    "5 measurements of a device elsewhere are awaited, "
    "6 the machine was too busy to measure, "
    "130 Ctrl-C, 143 terminated (both: run again to resume)."
)


def exit_code_of(error: BaseException) -> int:
    """Return the exit code that the help promises for an error."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), EXIT_ERROR)


def exit_code_of_process(returncode: int) -> int:
    """Return the exit code of a child as a shell has it.

    Args:
        returncode: As `subprocess` has it: -N of a child that signal N has killed.
    """
    return 128 - returncode if returncode < 0 else returncode


def exit_on_sigterm() -> None:
    """Have SIGTERM raise `SystemExit` in the main thread: what runs is saved, and said."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(_: int, __: FrameType | None) -> NoReturn:
    raise SystemExit(EXIT_TERMINATED)
