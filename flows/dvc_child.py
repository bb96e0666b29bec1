"""Ask DVC to bring one stage up to date: `python -m flows.dvc_child ADDRESS [--force]`.

A process of its own, because DVC holds locks and changes the process it runs in. It ends with
whoever started it: told to end, or left alone, it tells the stage, which saves and ends.
The last line of its standard output is the answer in JSON.
"""

import ctypes
import json
import os
import re
import signal
import sys
from pathlib import Path
from types import FrameType

EXIT_FAILED = 1
EXIT_BUSY = 3
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Reproduce a stage, or with ``--status`` say which of the named stages are not current.

    Returns:
        0, the exit code of the stage's command, or one of ours.
    """
    _end_with_parent(int(arguments[0]))
    force, status = "--force" in arguments, "--status" in arguments
    addresses = [word for word in arguments[1:] if not word.startswith("--")]
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo(str(Path.cwd())) as repo:
            if status:
                _answer(changed=sorted(repo.status(targets=addresses)))
            else:
                done = repo.reproduce(addresses, single_item=True, force=force)
                _answer(changed=[stage.addressing for stage in done])
    except LockError as error:
        _answer(error=str(error))
        return EXIT_BUSY
    except DvcException as error:
        causes = _causes(error)
        _answer(error=": ".join(causes))
        code = re.search(r"exited with (-?\d+)$", causes[-1])
        if code is None:
            return EXIT_FAILED
        # -N: killed by signal N, which a shell reports as 128 + N.
        return int(code[1]) if int(code[1]) >= 0 else 128 - int(code[1])
    return 0


def _answer(*, changed: list[str] | None = None, error: str = "") -> None:
    sys.stdout.write("\n" + json.dumps({"changed": changed or [], "error": error}) + "\n")


def _causes(error: BaseException | None) -> list[str]:
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return texts


def _end_with_parent(parent_pid: int) -> None:
    """On SIGTERM, and when the parent dies, end the stage; DVC then ends by itself."""

    def pass_on(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, lambda *_: None)
        os.killpg(0, signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:
        sys.exit(128 + signal.SIGTERM)  # it died before we asked


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
