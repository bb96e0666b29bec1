"""DVC, asked over a pipe: `python -m flows.dvc_child PARENT_PID ANSWERS_FD`.

One process serves a whole run, because DVC takes longer to import than to find out that a stage
has nothing to do. It reads one JSON request a line on standard input, ``{"stages": [...],
"do": "reproduce" | "force" | "status" | "judge"}``, and answers one line on ANSWERS_FD.

It ends with its parent: told to end, or left alone, it tells the stage, which saves and ends.
"""

import json
import os
import re
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from ofa_pipeline.exit_codes import EXIT_BUSY, EXIT_ERROR, exit_code_of_process
from ofa_pipeline.parent import end_with_parent


def main(parent_pid: int, answers: int) -> None:
    """Answer requests until there are no more."""
    _pass_signals_on(parent_pid)
    with os.fdopen(answers, "w") as out:
        for line in sys.stdin:
            out.write(json.dumps(answer(json.loads(line))) + "\n")
            out.flush()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked.

    Returns:
        ``changed``: the stages that were run or restored, or for ``status`` would be;
        ``restorable``: for ``judge``, those of them whose results DVC has kept; ``exit_code``: 0,
        of the stage's command, or one of ours; ``error``: what DVC says.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    changed: list[str] = []
    restorable: list[str] = []
    error_text, code = "", 0
    try:
        with Repo(str(Path.cwd())) as repo:
            if request["do"] in ("status", "judge"):
                changed = sorted(repo.status(targets=request["stages"]))
                restorable = _restorable(repo, changed) if request["do"] == "judge" else []
            else:
                force = request["do"] == "force"
                done = repo.reproduce(request["stages"], single_item=True, force=force)
                changed = [stage.addressing for stage in done]
    except LockError as error:
        error_text, code = str(error), EXIT_BUSY
    except DvcException as error:
        error_text, code = ": ".join(_causes(error)), _exit_code_of(error)
    return {
        "changed": changed,
        "restorable": restorable,
        "exit_code": code,
        "error": error_text,
    }


def _restorable(repo: Any, addresses: list[str]) -> list[str]:  # noqa: ANN401 - DVC has no types
    """Return the stages whose results of the present inputs are in DVC's run-cache."""
    from dvc.stage.cache import RunCacheNotFoundError

    found = []
    for address in addresses:
        [stage] = repo.stage.collect(address)
        if stage.always_changed or not all(dep.exists for dep in stage.deps):
            continue
        try:
            with repo.lock:
                stage.save_deps()
            for out in stage.outs:  # else what dvc.lock says of them would count, of other inputs
                out.hash_info = type(out.hash_info)()
            repo.stage_cache.restore(stage, dry=True)
        except RunCacheNotFoundError:
            continue
        found.append(address)
    return found


def _causes(error: BaseException | None) -> list[str]:
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return texts


def _exit_code_of(error: BaseException) -> int:
    """Return the exit code of a stage's command, which DVC mentions in a text only."""
    found = re.search(r"exited with (-?\d+)$", _causes(error)[-1])
    return EXIT_ERROR if found is None else exit_code_of_process(int(found[1]))


def _pass_signals_on(parent_pid: int) -> None:
    """On SIGTERM, and when the parent dies, end the stage; DVC then finds that it failed."""

    def pass_on(_: int, __: FrameType | None) -> None:
        # Once: the group includes this process, which goes on until DVC has noticed.
        signal.signal(signal.SIGTERM, lambda *_: None)
        os.killpg(0, signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)
    # A run in the background of a script inherits that Ctrl-C is ignored; what the run itself
    # sends to the stage has to arrive all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with_parent(parent_pid)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
