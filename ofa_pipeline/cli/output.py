"""What a user sees: consoles, and errors in one line."""

import sys
import traceback
from typing import Any, Final, TypedDict

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from ofa_pipeline.cli.faults import explain_fault
from ofa_pipeline.cli.hints import pasteable
from ofa_pipeline.errors import OfaPipelineError, shorten
from ofa_pipeline.masking import mask_secrets

MAX_MESSAGE = 3000
"""Characters of an error: a screen, and an event of a stage with it in one write to a pipe."""

_MAX_UNEXPECTED = 1000


class _Plain(TypedDict):
    highlight: bool
    soft_wrap: bool
    markup: bool


_WIDTH_OF_FILES = 140
_SHOWN_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"
}

PLAIN: Final[_Plain] = {"highlight": False, "soft_wrap": True, "markup": False}
"""How to print a line that is copied: nothing in it is colored, interpreted or broken."""


class SafeConsole(Console):
    """A console that writes what a text holds and obeys none of it.

    Names, tags and messages come from registries and files that others write, and terminals
    take control characters in them for commands.
    """

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - as the console's
        """Return a text to print: control characters as their code points."""
        return super().render_str(text.translate(_SHOWN_CONTROLS), **options)


stdout = SafeConsole(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
stderr = SafeConsole(stderr=True, width=None if sys.stderr.isatty() else _WIDTH_OF_FILES)


def describe_error(error: BaseException) -> str:
    """Return an error in one line that helps, without secrets, never longer than a screen."""
    notes = getattr(error, "__notes__", [])  # such as which of many subnets it was
    return shorten(mask_secrets(" ".join([_describe(error), *notes])), MAX_MESSAGE)


def _describe(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted. Run the same command again to go on from here."
    if isinstance(error, SystemExit):
        return "terminated. Run the same command again to go on from here."
    if isinstance(error, OfaPipelineError):
        return str(error)
    explained = explain_fault(error)
    if explained is not None:
        return explained
    return (
        f"unexpected {type(error).__name__}: {shorten(str(error), _MAX_UNEXPECTED)}. This is a "
        "fault of the program: run again with --debug and report the traceback."
    )


def report_error(error: BaseException, *, debug: bool) -> None:
    """Print an error: one line, or the traceback too."""
    if debug and isinstance(error, Exception):
        sys.stderr.write(mask_secrets("".join(traceback.format_exception(error))))
    text = escape(pasteable(describe_error(error)))
    stderr.print(f"[bold red]error:[/] {text}", soft_wrap=True)


def report_awaited(text: str) -> None:
    """Print what has to be measured elsewhere before a run can go on: no error, one line each."""
    stderr.print(f"awaited: {pasteable(text)}", style="yellow", **PLAIN)
