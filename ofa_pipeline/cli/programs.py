"""Commands that go on as a program of the flows, the layer above, which is never imported here."""

import os
import sys

from ofa_pipeline.cli.environment import start_our_own_code
from ofa_pipeline.cli.hints import PROGRAM_VARIABLE, program


def become(module: str, *words: str) -> None:
    """Go on as another program of ours.

    Args:
        module: Its name, for ``python -m``.
        words: Its arguments.
    """
    start_our_own_code(os.environ)
    os.environ[PROGRAM_VARIABLE] = program(sys.argv, os.environ)
    debug = ["--debug"] if "--debug" in sys.argv else []
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *words, *debug])  # noqa: S606
