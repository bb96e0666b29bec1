"""Commands that are printed for people to paste: the program as they call it, their workspace.

Messages of the library say ``ofa-pipeline run``: it knows neither how the program was called nor
which workspace was meant. Here both are filled in.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PROGRAM = "ofa-pipeline"
PROGRAM_VARIABLE = "OFA_PIPELINE_PROGRAM"
"""How the user called the program; for the processes that it starts."""
IN_A_WORKSPACE = (
    *("run", "plan", "stage", "best", "front", "compare", "explain", "certificate", "subnets"),
    *("predict", "pull", "evaluate", "serve", "serve-registry", "promote", "sign"),
    *("lineage", "reproduce", "recertify", "params check", "zoo evaluate", "doctor", "verify"),
    *("device add", "device list", "device check", "device remove"),
    *("device export", "device import", "device profile"),
)
"""Commands that take --workspace."""

_COMMAND = re.compile(
    rf"(?<![\w/.@-])ofa-pipeline (?:{'|'.join(IN_A_WORKSPACE)})(?![\w-])(?!.*--workspace)"
)
_CALL = re.compile(r"(?<![\w/.@-])ofa-pipeline(?= [a-z])")


def program(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return how the user calls the program, quoted for a shell.

    Args:
        arguments: Arguments of the process, its own name first.
        environment: Holds what an outer process found out.
    """
    if PROGRAM_VARIABLE in environment:
        return environment[PROGRAM_VARIABLE]
    called = Path(arguments[0]) if arguments else Path()
    found = shutil.which(PROGRAM, path=environment.get("PATH"))
    if called.name != PROGRAM or (found and _is_same(Path(found), called)):
        return PROGRAM
    return shlex.quote(str(called))


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def named_workspace(arguments: Sequence[str]) -> Path | None:
    """Return the workspace that a command line names, unless it is the current folder."""
    for index, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name in {"--workspace", "-w"}:
            given = value if equals else "".join(arguments[index + 1 : index + 2])
        elif word.startswith("-w") and not word.startswith("--") and len(word) > len("-w"):
            given = word.removeprefix("-w")
        else:
            continue
        return None if Path(given).resolve() == Path().resolve() else Path(given)
    return None


def pasteable(text: str) -> str:
    """Return a message with its commands as they are right in the user's shell."""
    called = program(sys.argv, os.environ)
    workspace = named_workspace(sys.argv[1:])
    if workspace is not None:
        option = f" --workspace {shlex.quote(str(workspace))}"
        text = _COMMAND.sub(lambda found: found[0] + option, text)
    return text if called == PROGRAM else _CALL.sub(lambda _: called, text)


def command(*words: object) -> str:
    """Return a command of this program, to be pasted into the user's shell."""
    text = " ".join([PROGRAM, *(shlex.quote(str(word)) for word in words)])
    workspace = named_workspace(sys.argv[1:])
    names = {str(words[0]), " ".join(str(word) for word in words[:2])}
    if workspace is not None and names & {*IN_A_WORKSPACE} and "--bundle" not in words:
        text += f" --workspace {shlex.quote(str(workspace))}"
    return text.replace(PROGRAM, program(sys.argv, os.environ), 1)
